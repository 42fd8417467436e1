//! Refuses the feature `mutants` wherever it could get into an artefact that is shipped.
//!
//! This crate alone has the check: the feature of every other crate turns on this one's, so none
//! of them compiles without passing here (`tests/mutants.rs` holds them to that).

mod profile;

use std::io::{self, Write};
use std::path::PathBuf;

fn main() -> io::Result<()> {
    let mut cargo = io::stdout().lock();
    writeln!(cargo, "cargo::rerun-if-changed=build")?;
    if std::env::var_os("CARGO_FEATURE_MUTANTS").is_some() {
        let out_dir = std::env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
        if let Some(sentence) = profile::refusal(&out_dir) {
            // Cargo fails the build for it.
            writeln!(cargo, "cargo::error={sentence}")?;
        }
    }
    Ok(())
}

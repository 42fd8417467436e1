//! `kms-sim version`: which build this is, and which formats it writes and reads.

use std::io::{self, Write};

use clap::Args;
use lockbox_platform::exit::ExitCode;
use lockbox_platform::formats::Build;

use super::Failure;
use crate::formats::FORMATS;

/// `kms-sim version`.
#[derive(Debug, Args)]
pub(super) struct VersionArgs {
    /// Show the formats of the data, too: what to look at before another build.
    #[arg(long)]
    formats: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `kms-sim version`.
pub(super) fn run(arguments: &VersionArgs) -> Result<(), Failure> {
    let version = lockbox_core::mutants::marked(env!("CARGO_PKG_VERSION"));
    let formats: &[_] = if arguments.formats { FORMATS.as_slice() } else { &[] };
    let build = Build { program: "kms-sim", version: &version, formats };
    let text = if arguments.json {
        let told = serde_json::to_string_pretty(&build);
        told.map_err(|error| Failure::new(ExitCode::Internal, error))? + "\n"
    } else {
        build.text()
    };
    io::stdout().lock().write_all(text.as_bytes()).map_err(|error| Failure::output(&error))
}

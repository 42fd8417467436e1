//! `lockbox version`: which build this is, and which formats it writes and reads.

use clap::Args;
use lockbox_platform::formats::Build;

use crate::cli::failure::Failure;
use crate::cli::output::{self, Format};
use crate::formats::FORMATS;

/// `lockbox version`.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// Show the formats on disk, in the log and on the wire, too: what to look at before an
    /// upgrade, and before the way back.
    #[arg(long)]
    formats: bool,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Runs `lockbox version`.
pub(crate) fn run(arguments: &VersionArgs) -> Result<(), Failure> {
    let version = lockbox_core::mutants::marked(env!("CARGO_PKG_VERSION"));
    let formats: &[_] = if arguments.formats { FORMATS.as_slice() } else { &[] };
    let build = Build { program: "lockbox", version: &version, formats };
    let text = match arguments.format {
        Format::Text => build.text(),
        Format::Yaml => output::yaml(&build)?,
        Format::Json | Format::JsonRest => output::json(&build)?,
    };
    output::write(text.as_bytes())
}

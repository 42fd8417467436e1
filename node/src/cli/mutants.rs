//! `lockbox mutants`, and the choice of a mutant at the start of a server
//! (`lockbox_core::mutants`). Only with the feature `mutants`.

use clap::Args;
use lockbox_core::mutants::Program;
use lockbox_platform::mutants::{self, ListFormat};

use crate::cli::environment::Environment;
use crate::cli::failure::Failure;
use crate::cli::output;

/// `lockbox mutants`.
#[derive(Debug, Args)]
pub(crate) struct MutantsArgs {
    /// How they are printed: `text` or `json`.
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    format: ListFormat,
}

/// Runs `lockbox mutants`.
pub(crate) fn run(arguments: &MutantsArgs) -> Result<(), Failure> {
    output::write(mutants::list(Program::Node, arguments.format).as_bytes())
}

/// Makes this process the mutant that `LOCKBOX_MUTANT` names.
pub(crate) fn begin(programs: &[Program], environment: &Environment) -> Result<(), Failure> {
    mutants::begin(programs, environment.all()).map_err(Failure::usage)
}

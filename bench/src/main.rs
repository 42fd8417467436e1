//! The load generator's entry point; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    lockbox_bench::cli::main()
}

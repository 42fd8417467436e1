//! The program `lockbox-jepsen`.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match lockbox_jepsen::cli::run(std::env::args_os()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Nobody is left to tell when standard error is closed.
            writeln!(std::io::stderr().lock(), "lockbox-jepsen: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

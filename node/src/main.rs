//! The process `lockbox`: hands the command line over and exits with what comes back.

fn main() -> std::process::ExitCode {
    lockbox::cli::run(std::env::args_os())
}

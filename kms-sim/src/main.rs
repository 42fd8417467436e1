//! The process `kms-sim`: hands the command line over and exits with what comes back.

fn main() -> std::process::ExitCode {
    lockbox_kms_sim::cli::run(std::env::args_os()).into()
}

//! The load generator. Its commands are not there yet.

fn main() -> std::process::ExitCode {
    // Usage error: there is nothing that could be measured.
    std::process::ExitCode::from(2)
}

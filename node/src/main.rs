//! The Lockbox binary. Its commands are not there yet; the node is a library so far.

fn main() -> std::process::ExitCode {
    // Usage error: there is nothing that could be started.
    std::process::ExitCode::from(2)
}

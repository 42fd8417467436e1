//! The process `kms-sim`: hands the command line over and exits with what comes back.

/// Many short-lived buffers on many threads are what glibc's allocator is slowest at.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    lockbox_kms_sim::cli::run(std::env::args_os()).into()
}

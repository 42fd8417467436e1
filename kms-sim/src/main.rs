//! The process `kms-sim`: hands the command line over and exits with what comes back.

use tikv_jemallocator::Jemalloc;
use zeroizing_alloc::ZeroAlloc;

/// Many short-lived buffers on many threads are what glibc's allocator is slowest at. What Rust code
/// gives back is overwritten first, whoever's buffer it was: values and keys pass through those of
/// the libraries for TLS, HTTP/2 and protobuf, which wipe nothing.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<Jemalloc> = ZeroAlloc(Jemalloc);

fn main() -> std::process::ExitCode {
    lockbox_kms_sim::cli::run(std::env::args_os()).into()
}

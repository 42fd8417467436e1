//! What others on the machine can learn from a server: nothing that it does not say.
//!
//! Promises: no core file holds the values and keys that are in memory for the length of a request
//! (`design §1.4`), no process of the same user can read that memory, and no other user reads what
//! the server writes. Refuses to know what is in memory or in the files.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

/// What group and others may do.
const OTHERS: u32 = 0o077;

/// Confines this process and those that it starts. Call it before the first file is made.
///
/// # Errors
/// When the system refuses: a server that could be dumped must not start.
pub fn confine_process() -> io::Result<()> {
    umask(Mode::RWXG | Mode::RWXO);
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none)?;
    // A limit of zero does not count where the kernel hands cores to a program.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Keeps this process's memory out of the swap, what is in it now and what comes.
///
/// All of it or nothing: keys and values are in buffers of the libraries as well. Pages are locked
/// when they are first touched. It takes an unlimited `memlock`, for below a limit it is the
/// allocations that fail from then on; and memory that was locked once stays with the process.
///
/// # Errors
/// PermissionDenied when `memlock` is limited; whatever the system says.
pub fn lock_memory() -> io::Result<()> {
    if getrlimit(Resource::Memlock).current.is_some() {
        let message = "the limit on locked memory (memlock) is not `unlimited`";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    lock_all()
}

#[cfg(target_os = "linux")]
fn lock_all() -> io::Result<()> {
    use rustix::mm::{MlockAllFlags, mlockall};
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn lock_all() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Closes a directory to other users, when an earlier release or an operator has left it open.
/// One that does not exist yet is made closed, by [`confine_process`].
///
/// # Errors
/// When it cannot be looked at or changed.
pub fn confine_directory(path: &Path) -> io::Result<()> {
    let mode = match std::fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if mode & OTHERS == 0 {
        return Ok(());
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & !OTHERS))
}

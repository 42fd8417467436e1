//! How many files, and so how many connections, the system lets this process have open.
//!
//! Promises: connections leave enough for everything else. A database that cannot open a file ends
//! the process, so whoever opens many connections must not be able to make it so.

use rustix::io;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files for all but clients' connections: databases, logs, other nodes, the KMS, the audit.
const FILES_KEPT: u64 = 2_048;

/// Raises the limit as far as the system lets a process do by itself.
///
/// # Errors
/// When the system refuses even that.
pub fn raise_file_limit() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
}

/// As many connections as wanted, or as there is room for.
pub(crate) fn connections_within_file_limit(wanted: usize) -> usize {
    let Some(files) = getrlimit(Resource::Nofile).current else { return wanted };
    let room = room(files);
    if room < wanted {
        tracing::warn!(files, wanted, room, "the limit on open files leaves fewer connections");
    }
    wanted.min(room)
}

/// Of few files, half.
fn room(files: u64) -> usize {
    let room = files.saturating_sub(FILES_KEPT).max(files / 2).max(1);
    usize::try_from(room).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        assert_eq!(room(20_000), 17_952);
        assert_eq!(room(1_024), 512);
        assert_eq!(room(0), 1);
        assert_eq!(connections_within_file_limit(1), 1);
        raise_file_limit().expect("a process may raise its own limit");
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}

//! How the process ends: its exit codes, and the way for a fault anywhere to choose one.
//!
//! Promises: the first fault raised decides the code; later ones are logged and change nothing.

use std::sync::Arc;

use tokio::sync::watch;

/// The exit codes of the servers. Supervisors and tests tell failures apart by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// A clean end.
    Ok,
    /// The command line, the configuration or a file it names is wrong.
    Usage,
    /// A read, write or sync of the storage failed; nothing unsynced was acknowledged.
    Storage,
    /// A record in the middle of the log does not match its checksum.
    CorruptLog,
    /// The disk is full.
    DiskFull,
    /// The data directory belongs to another node or another cluster.
    IdentityMismatch,
    /// A port that the process must listen on is taken.
    PortInUse,
    /// A broken invariant: a bug. The log says which.
    Internal,
}

impl ExitCode {
    /// The number given to the operating system.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Usage => 2,
            Self::Storage => 10,
            Self::CorruptLog => 11,
            Self::DiskFull => 12,
            Self::IdentityMismatch => 13,
            Self::PortInUse => 14,
            Self::Internal => 70,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.code())
    }
}

/// Why the process must end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fatal {
    /// What the process exits with.
    pub code: ExitCode,
    /// One sentence for a person.
    pub reason: String,
}

/// Ends the process from anywhere: `main` waits on it, whoever meets a fault raises it.
#[derive(Debug, Clone)]
pub struct FatalExit {
    raised: Arc<watch::Sender<Option<Fatal>>>,
}

impl FatalExit {
    /// Nothing raised yet.
    #[must_use]
    pub fn new() -> Self {
        Self { raised: Arc::new(watch::Sender::new(None)) }
    }

    /// Asks for the end of the process. The first call decides the code.
    pub fn raise(&self, code: ExitCode, reason: impl Into<String>) {
        let fatal = Fatal { code, reason: reason.into() };
        tracing::error!(code = code.code(), reason = %fatal.reason, "the process must stop");
        self.raised.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(fatal);
            }
            first
        });
    }

    /// What has been raised, if anything.
    #[must_use]
    pub fn raised(&self) -> Option<Fatal> {
        self.raised.borrow().clone()
    }

    /// Waits until something is raised.
    pub async fn wait(&self) -> Fatal {
        let mut receiver = self.raised.subscribe();
        loop {
            if let Some(fatal) = receiver.borrow_and_update().clone() {
                return fatal;
            }
            if receiver.changed().await.is_err() {
                // The sender lives in `self`, which outlives this call.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Default for FatalExit {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_fault_decides() {
        let fatal = FatalExit::new();
        assert_eq!(fatal.raised(), None);
        fatal.raise(ExitCode::DiskFull, "disk full");
        fatal.raise(ExitCode::Internal, "later");
        assert_eq!(fatal.wait().await.code, ExitCode::DiskFull);
        assert_eq!(fatal.raised().map(|f| f.reason), Some("disk full".to_owned()));
    }

    #[test]
    fn codes_are_the_documented_ones() {
        let codes = [
            (ExitCode::Ok, 0),
            (ExitCode::Usage, 2),
            (ExitCode::Storage, 10),
            (ExitCode::CorruptLog, 11),
            (ExitCode::DiskFull, 12),
            (ExitCode::IdentityMismatch, 13),
            (ExitCode::PortInUse, 14),
            (ExitCode::Internal, 70),
        ];
        for (code, number) in codes {
            assert_eq!(code.code(), number, "{code:?}");
        }
    }
}

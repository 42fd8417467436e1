//! The exit codes of all programs: the one table that everything which can end a process uses.

/// Why a process ended. Supervisors and tests tell failures apart by these; the numbers
/// stay what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// A clean end.
    Ok,
    /// A command: the server that it called answered, and refused.
    Refused,
    /// The command line, the configuration or a file it names is wrong.
    Usage,
    /// A command: the server that it called is out of reach, is not ready or took too long. What
    /// was asked for may have been done.
    Unreachable,
    /// A read, write or sync of the storage failed; nothing unsynced was acknowledged.
    Storage,
    /// What is stored does not match its checksum: a record in the middle of a log, or a block of a
    /// file. A node cannot go on with such data: replace it.
    CorruptLog,
    /// The disk is full.
    DiskFull,
    /// The data directory belongs to another node, another cluster, another kind of server or a
    /// newer build.
    IdentityMismatch,
    /// A port that the process must listen on is taken.
    PortInUse,
    /// Consensus, or a task of the replica, ended by itself without a storage error: a bug.
    Consensus,
    /// The data directory was wiped, as a whole or in part, under a node that is a member of a
    /// cluster. It cannot come back under its id: remove it and add it under a new one.
    StoreLost,
    /// The end took too long: a disk keeps calls, or the ledger, waiting. What was not answered may
    /// have been done.
    Stalled,
    /// The state of this node is another one than most members of the cluster have. It must not
    /// serve, and does not start again: replace it.
    StateDiverged,
    /// A broken invariant: a bug. The log says which.
    Internal,
}

impl ExitCode {
    /// All of them, by number.
    pub const ALL: [Self; 14] = [
        Self::Ok,
        Self::Refused,
        Self::Usage,
        Self::Unreachable,
        Self::Storage,
        Self::CorruptLog,
        Self::DiskFull,
        Self::IdentityMismatch,
        Self::PortInUse,
        Self::Consensus,
        Self::StoreLost,
        Self::Stalled,
        Self::StateDiverged,
        Self::Internal,
    ];

    /// What it means, for the manual.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "it went well",
            Self::Refused => "the server answered, and refused",
            Self::Usage => "the command line, the configuration or a file it names is wrong",
            Self::Unreachable => "the server is out of reach, is not ready or took too long",
            Self::Storage => "storage could not be read, written or synced",
            Self::CorruptLog => "stored data are damaged",
            Self::DiskFull => "the disk is full",
            Self::IdentityMismatch => {
                "the data belongs to another node, cluster or kind of server, or to a newer build"
            }
            Self::PortInUse => "a port is taken",
            Self::Consensus => "consensus ended by itself, which is a bug",
            Self::StoreLost => {
                "the data of a member was wiped: remove the node and add it under a new id"
            }
            Self::Stalled => "the end took too long, for a disk kept it waiting",
            Self::StateDiverged => "the node's state is not that of most members: replace the node",
            Self::Internal => "something that cannot be has happened, which is a bug",
        }
    }

    /// The number given to the operating system.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Storage => 10,
            Self::CorruptLog => 11,
            Self::DiskFull => 12,
            Self::IdentityMismatch => 13,
            Self::PortInUse => 14,
            Self::Consensus => 15,
            Self::StoreLost => 16,
            Self::Stalled => 17,
            Self::StateDiverged => 18,
            Self::Internal => 70,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_documented_ones() {
        let codes = [
            (ExitCode::Ok, 0),
            (ExitCode::Refused, 1),
            (ExitCode::Usage, 2),
            (ExitCode::Unreachable, 3),
            (ExitCode::Storage, 10),
            (ExitCode::CorruptLog, 11),
            (ExitCode::DiskFull, 12),
            (ExitCode::IdentityMismatch, 13),
            (ExitCode::PortInUse, 14),
            (ExitCode::Consensus, 15),
            (ExitCode::StoreLost, 16),
            (ExitCode::Stalled, 17),
            (ExitCode::StateDiverged, 18),
            (ExitCode::Internal, 70),
        ];
        for (code, number) in codes {
            assert_eq!(code.code(), number, "{code:?}");
        }
        assert_eq!(codes.map(|(code, _)| code), ExitCode::ALL);
    }
}

//! How operations are told apart in pictures and tables: by what they do, and by what came of
//! them.

use crate::history::call::Call;
use crate::history::op::{Op, Outcome};

/// What an operation does; each kind has a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Reads a payload.
    PayloadRead,
    /// Reads metadata.
    MetadataRead,
    /// Changes versions, or which one is current.
    VersionWrite,
    /// Changes anything else.
    OtherChange,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 4] =
        [Self::PayloadRead, Self::MetadataRead, Self::VersionWrite, Self::OtherChange];

    /// The kind of a call.
    pub(super) const fn of(call: &Call) -> Self {
        match call {
            Call::GetPayload(_) => Self::PayloadRead,
            Call::GetSecret(_) | Call::ListVersions(_) | Call::ListSecrets(_) => Self::MetadataRead,
            Call::CreateSecret(_)
            | Call::AddVersion(_)
            | Call::SetCurrentVersion(_)
            | Call::ScheduleDestruction(_)
            | Call::CancelDestruction(_) => Self::VersionWrite,
            Call::Activate(_)
            | Call::Deactivate(_)
            | Call::DeleteSecret(_)
            | Call::UpdateSecret(_)
            | Call::ChangeBinding(_)
            | Call::RevokeToken(_) => Self::OtherChange,
        }
    }

    /// Its class in the style sheet.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::PayloadRead => "payload-read",
            Self::MetadataRead => "metadata-read",
            Self::VersionWrite => "version-write",
            Self::OtherChange => "other-change",
        }
    }

    /// Its name for readers.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::PayloadRead => "payload read",
            Self::MetadataRead => "metadata read",
            Self::VersionWrite => "version write",
            Self::OtherChange => "other change",
        }
    }

    /// Its shape around the current point of a path. It ends where it began.
    pub(super) const fn shape(self) -> &'static str {
        match self {
            Self::PayloadRead => "h0",
            Self::MetadataRead => "h5h-5",
            Self::VersionWrite => "l2 4h-4z",
            Self::OtherChange => "l4 4m0-4l-4 4m0-4",
        }
    }

    /// Where its shape begins, seen from its middle.
    pub(super) const fn offset(self) -> (i32, i32) {
        match self {
            Self::PayloadRead => (0, 0),
            Self::MetadataRead => (-2, 0),
            Self::VersionWrite => (0, -2),
            Self::OtherChange => (-2, -2),
        }
    }
}

/// What came of an operation, as the pictures show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Came {
    /// Decided: done, or refused by the state.
    Ok,
    /// Certainly nothing.
    Fail,
    /// Perhaps something; also operations that the run ended before.
    Info,
    /// Something out of contract.
    Unexpected,
}

impl Came {
    /// All of them, in the order of drawing: what is rare lies on top.
    pub(super) const ALL: [Self; 4] = [Self::Ok, Self::Fail, Self::Info, Self::Unexpected];

    /// What came of it.
    pub(super) const fn of(op: &Op) -> Self {
        match &op.completed {
            Some((_, Outcome::Ok(_))) => Self::Ok,
            Some((_, Outcome::Fail(_))) => Self::Fail,
            Some((_, Outcome::Info(_))) | None => Self::Info,
            Some((_, Outcome::Unexpected(_))) => Self::Unexpected,
        }
    }

    /// Its name, which is its class in the style sheet too.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Info => "info",
            Self::Unexpected => "unexpected",
        }
    }

    /// What it means, for a legend.
    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "ok: decided, refusals included",
            Self::Fail => "fail: certainly not done",
            Self::Info => "info: perhaps done",
            Self::Unexpected => "unexpected: out of contract",
        }
    }
}

/// How long it took, in nanoseconds; until the end of the run if it never ended.
pub(super) fn latency_ns(op: &Op, end_ns: u64) -> u64 {
    ended_ns(op).unwrap_or(end_ns).saturating_sub(op.invoked.ns)
}

/// When it ended, nanoseconds since the run began.
pub(super) fn ended_ns(op: &Op) -> Option<u64> {
    op.completed.as_ref().map(|(at, _)| at.ns)
}

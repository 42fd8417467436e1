//! One operation: who asked which node for what, when, and what came of it.

use serde::{Deserialize, Serialize};

use super::answer::{Answer, Code};
use super::call::Call;
use super::ids::{IdempotencyKey, NodeId, OpId, ProcessId, SecretId, Subject, TokenId};

/// A moment of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Place in the one order of the whole harness. Real-time order is judged by it alone: the
    /// harness is one process, so no clocks need to agree.
    pub order: u64,
    /// Monotonic nanoseconds since the run began; for plots, durations and sentences.
    pub ns: u64,
}

/// What a client is about to ask; the recorder adds the id and the stamp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invocation {
    /// The worker.
    pub process: ProcessId,
    /// The node that is asked.
    pub node: NodeId,
    /// Who asks; absent is the run's administrator, who may do everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// By which of its tokens; absent is the one that it keeps for the whole run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenId>,
    /// The `idempotency-key`, if one was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<IdempotencyKey>,
    /// What is asked.
    pub call: Call,
}

impl Invocation {
    /// What the run's administrator asks, without a key.
    #[must_use]
    pub const fn by_administrator(process: ProcessId, node: NodeId, call: Call) -> Self {
        Self { process, node, subject: None, token: None, idempotency_key: None, call }
    }
}

/// What came of an operation (`verification §3.4`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "almost all outcomes are the largest variant")]
pub enum Outcome {
    /// The service decided: a success, or a refusal that the state decided and that has an index.
    Ok(Reply),
    /// It certainly did not happen: refused connection, `lockbox-outcome: not-proposed`, or
    /// refused before any state was asked.
    Fail(Failure),
    /// It may have happened, now or later. The process is dead.
    Info(Failure),
    /// Outside the modelled contract; makes the run invalid. The process is dead.
    Unexpected(Failure),
}

/// A decided answer and the place in the log that it reflects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// The answer.
    pub answer: Answer,
    /// `lockbox-index`: the entry of a write, `last_applied` of the view of a read.
    pub index: u64,
    /// `lockbox-term`.
    pub term: u64,
    /// `lockbox-served-by`: the node whose state was read or that handed the write to Raft.
    pub served_by: NodeId,
}

/// A status that decided nothing about the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The gRPC code.
    pub code: Code,
    /// What the client saw; holds no value.
    pub message: String,
}

/// An operation of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// Its id, dense from 0.
    pub id: OpId,
    /// What was asked, by whom and of which node.
    pub asked: Invocation,
    /// When it began: before the request left.
    pub invoked: Stamp,
    /// When it ended and how; absent when the harness ended first, which is as good as
    /// [`Outcome::Info`].
    pub completed: Option<(Stamp, Outcome)>,
}

impl Op {
    /// The decided answer, if there is one.
    #[must_use]
    pub const fn reply(&self) -> Option<&Reply> {
        match &self.completed {
            Some((_, Outcome::Ok(reply))) => Some(reply),
            Some((_, Outcome::Fail(_) | Outcome::Info(_) | Outcome::Unexpected(_))) | None => None,
        }
    }

    /// Whether its token was refused, which decides nothing about the state. Only of a token that
    /// somebody may revoke: the others are good for the whole run.
    #[must_use]
    pub fn is_turned_away(&self) -> bool {
        let by_spare_token = self.asked.token.is_some();
        by_spare_token
            && matches!(
                &self.completed,
                Some((_, Outcome::Fail(failure))) if failure.code == Code::Unauthenticated
            )
    }

    /// The decided answer of an operation that did what was asked.
    #[must_use]
    pub fn success(&self) -> Option<&Reply> {
        self.reply().filter(|reply| reply.answer.is_success())
    }

    /// Whether it may have happened without anybody being told.
    #[must_use]
    pub const fn is_uncertain(&self) -> bool {
        matches!(&self.completed, None | Some((_, Outcome::Info(_) | Outcome::Unexpected(_))))
    }

    /// Order of the moment by which it certainly had happened; the end of time if uncertain.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        match &self.completed {
            Some((at, Outcome::Ok(_) | Outcome::Fail(_))) => at.order,
            Some((_, Outcome::Info(_) | Outcome::Unexpected(_))) | None => u64::MAX,
        }
    }

    /// The secret that it is about: named by the call, or by the answer to a creation.
    #[must_use]
    pub fn secret(&self) -> Option<&SecretId> {
        match (self.asked.call.secret(), self.reply().map(|reply| &reply.answer)) {
            (Some(secret), _) => Some(secret),
            (None, Some(Answer::Secret(view))) => Some(&view.id),
            (None, _) => None,
        }
    }

    /// Whether it is a mutation that may have changed the state.
    #[must_use]
    pub fn may_have_effect(&self) -> bool {
        self.asked.call.is_mutation() && (self.success().is_some() || self.is_uncertain())
    }
}

//! One attempt: recorded before it leaves, recorded when it has ended, and remembered for what
//! comes after the load.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Result;

use super::books::{CanaryBook, DestroyedBook, SecretBook};
use super::pace::Pace;
use super::site::Site;
use crate::client::callers::Callers;
use crate::client::lockbox::LockboxClient;
use crate::client::request::Request;
use crate::history::ids::{NodeId, ProcessId};
use crate::history::op::{Invocation, Outcome};
use crate::history::recorder::Recorder;
use crate::workload::Family;

/// What all workers of a run share.
pub struct Shared {
    /// Where everything is.
    pub site: Site,
    /// Where everything is written.
    pub recorder: Arc<Recorder>,
    /// How fast.
    pub pace: Arc<Pace>,
    /// What calls carry.
    pub callers: Callers,
    /// Secrets that answers have told of.
    pub secrets: SecretBook,
    /// Versions that answers have shown as destroyed.
    pub destroyed: DestroyedBook,
    /// Values that must not be found anywhere.
    pub canaries: CanaryBook,
    /// How many workers there are: the distance between a dead process and its successor.
    pub concurrency: u64,
    /// How long a call may take.
    pub deadline: Duration,
    /// How many of a thousand keyed mutations are abandoned.
    pub abandoned_permille: u64,
    /// Whether everything is mended: then no client dies, and nobody asks a node that is no member,
    /// for whatever is asked must be answered.
    pub mended: AtomicBool,
}

/// Who asks whom, for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// Who.
    pub process: ProcessId,
    /// Whom.
    pub node: NodeId,
    /// For what.
    pub family: Family,
}

impl Shared {
    /// Asks once. With `leaves_after` the client goes away that long after it has asked.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub async fn attempt(
        &self,
        client: &mut LockboxClient,
        asker: Asker,
        request: &Request,
        leaves_after: Option<Duration>,
    ) -> Result<Outcome> {
        let op = self.recorder.invoke(Invocation {
            process: asker.process,
            node: asker.node,
            subject: request.subject.clone(),
            token: request.token.clone(),
            idempotency_key: request.idempotency_key.clone(),
            call: request.call().clone(),
        })?;
        if asker.family == Family::Canary {
            self.canaries.plant(op, request);
        }
        client.is_about_to_ask(op);
        let outcome = match leaves_after {
            Some(after) => client.call_and_leave(request, after).await,
            None => client.call(request).await,
        };
        self.recorder.complete(op, outcome.clone())?;
        self.secrets.observe(request, &outcome);
        self.destroyed.observe(op, request, &outcome);
        Ok(outcome)
    }
}

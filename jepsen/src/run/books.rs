//! What a run remembers of its load for the time after it: the secrets that it knows of, and the
//! values that it has planted.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::client::request::{Plaintext, Request};
use crate::history::answer::Answer;
use crate::history::call::Call;
use crate::history::ids::{OpId, SecretId};
use crate::history::op::Outcome;

/// The most canaries of a run. Each is looked for in several forms, so they are not all values.
const CANARIES_MAX: usize = 4096;

/// The secrets that are there, as far as answers have told.
#[derive(Debug, Default)]
pub struct SecretBook(Mutex<BTreeSet<SecretId>>);

impl SecretBook {
    /// Learns from an answer. What may be deleted is not counted on.
    pub fn observe(&self, request: &Request, outcome: &Outcome) {
        let created = match outcome {
            Outcome::Ok(reply) => match &reply.answer {
                Answer::Secret(view) => Some(&view.id),
                Answer::Version(_)
                | Answer::Versions(_)
                | Answer::Payload(_)
                | Answer::Done
                | Answer::Refused(_) => None,
            },
            Outcome::Fail(_) | Outcome::Info(_) | Outcome::Unexpected(_) => None,
        };
        match request.call() {
            Call::CreateSecret(_) => lock(&self.0).extend(created.cloned()),
            Call::DeleteSecret(call) => {
                lock(&self.0).remove(&call.secret);
            }
            Call::AddVersion(_)
            | Call::SetCurrentVersion(_)
            | Call::ScheduleDestruction(_)
            | Call::CancelDestruction(_)
            | Call::Activate(_)
            | Call::Deactivate(_)
            | Call::UpdateSecret(_)
            | Call::ChangeBinding(_)
            | Call::GetSecret(_)
            | Call::ListVersions(_)
            | Call::GetPayload(_) => {}
        }
    }

    /// All of them.
    #[must_use]
    pub fn secrets(&self) -> Vec<SecretId> {
        lock(&self.0).iter().cloned().collect()
    }
}

/// A value that must be found nowhere at rest.
#[derive(Debug, Clone)]
pub struct Planted {
    /// The operation that sent it.
    pub op: OpId,
    /// The value.
    pub value: Plaintext,
}

/// The canaries of a run. They stay in memory and are wiped with it.
#[derive(Debug, Default)]
pub struct CanaryBook(Mutex<Vec<Planted>>);

impl CanaryBook {
    /// Remembers the values of a request that is about to be sent.
    pub fn plant(&self, op: OpId, request: &Request) {
        let mut planted = lock(&self.0);
        for value in request.values().iter().flatten() {
            if planted.len() < CANARIES_MAX {
                planted.push(Planted { op, value: value.clone() });
            }
        }
    }

    /// All of them.
    #[must_use]
    pub fn planted(&self) -> Vec<Planted> {
        lock(&self.0).clone()
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under the lock can be left half done.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

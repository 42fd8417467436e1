//! What a run remembers of its load for the time after it: the secrets that it knows of, the
//! versions that are destroyed, and the values that it has planted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::client::request::{Plaintext, Request};
use crate::history::answer::{Answer, VersionStatus};
use crate::history::call::Call;
use crate::history::ids::{OpId, SecretId, VersionId};
use crate::history::op::Outcome;
use crate::random::Random;

/// The most destroyed versions that are remembered; some of them are looked for.
const DESTROYED_MAX: usize = 1_000;
/// The most canaries of a run. Each is looked for in several forms, so they are not all values.
const CANARIES_MAX: usize = 4096;

/// The secrets that are there, as far as answers have told.
#[derive(Debug, Default)]
pub struct SecretBook(Mutex<Secrets>);

#[derive(Debug, Default)]
struct Secrets {
    there: BTreeSet<SecretId>,
    /// Those that somebody wanted to be deleted: a repeat of their creation, which is answered as
    /// the first one was, does not bring them back.
    perhaps_gone: BTreeSet<SecretId>,
}

impl SecretBook {
    /// Learns from an answer. What may be deleted is not counted on.
    pub fn observe(&self, request: &Request, outcome: &Outcome) {
        let created = match outcome {
            Outcome::Ok(reply) => match &reply.answer {
                Answer::Secret(view) => Some(&view.id),
                Answer::Version(_)
                | Answer::Versions(_)
                | Answer::Secrets(_)
                | Answer::Payload(_)
                | Answer::Done
                | Answer::Refused(_) => None,
            },
            Outcome::Fail(_) | Outcome::Info(_) | Outcome::Unexpected(_) => None,
        };
        match request.call() {
            Call::CreateSecret(_) => {
                let mut secrets = lock(&self.0);
                let created = created.filter(|id| !secrets.perhaps_gone.contains(*id));
                secrets.there.extend(created.cloned());
            }
            Call::DeleteSecret(call) => {
                let mut secrets = lock(&self.0);
                secrets.there.remove(&call.secret);
                secrets.perhaps_gone.insert(call.secret.clone());
            }
            Call::AddVersion(_)
            | Call::SetCurrentVersion(_)
            | Call::ScheduleDestruction(_)
            | Call::CancelDestruction(_)
            | Call::Activate(_)
            | Call::Deactivate(_)
            | Call::UpdateSecret(_)
            | Call::ChangeBinding(_)
            | Call::RevokeToken(_)
            | Call::GetSecret(_)
            | Call::ListVersions(_)
            | Call::GetPayload(_)
            | Call::ListSecrets(_) => {}
        }
    }

    /// All of them.
    #[must_use]
    pub fn secrets(&self) -> Vec<SecretId> {
        lock(&self.0).there.iter().cloned().collect()
    }
}

/// A version that an answer has shown as destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destroyed {
    /// The operation that saw it first.
    pub op: OpId,
    /// The secret.
    pub secret: SecretId,
    /// The version.
    pub version: VersionId,
}

/// The versions that answers have shown as destroyed.
#[derive(Debug, Default)]
pub struct DestroyedBook(Mutex<BTreeMap<(SecretId, VersionId), OpId>>);

impl DestroyedBook {
    /// Learns from an answer.
    pub fn observe(&self, op: OpId, request: &Request, outcome: &Outcome) {
        let (Call::ListVersions(asked), Outcome::Ok(reply)) = (request.call(), outcome) else {
            return;
        };
        let Answer::Versions(list) = &reply.answer else { return };
        let mut known = lock(&self.0);
        for version in list.versions.iter().filter(|v| v.status == VersionStatus::Destroyed) {
            if known.len() < DESTROYED_MAX {
                known.entry((asked.secret.clone(), version.id.clone())).or_insert(op);
            }
        }
    }

    /// All of them, in the order in which they were seen.
    #[must_use]
    pub fn versions(&self) -> Vec<Destroyed> {
        let known = lock(&self.0);
        let seen = known.iter().map(|((secret, version), op)| Destroyed {
            op: *op,
            secret: secret.clone(),
            version: version.clone(),
        });
        let mut versions: Vec<_> = seen.collect();
        versions.sort_by_key(|version| version.op);
        versions
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
pub struct CanaryBook(Mutex<Canaries>);

#[derive(Debug)]
struct Canaries {
    planted: Vec<Planted>,
    /// Values that were sent, remembered or not.
    sent: u64,
    random: Random,
}

impl Default for Canaries {
    fn default() -> Self {
        Self { planted: Vec::new(), sent: 0, random: Random::new(0) }
    }
}

impl CanaryBook {
    /// Remembers the values of a request that is about to be sent, or some of them: each value of
    /// the whole run has the same chance.
    pub fn plant(&self, op: OpId, request: &Request) {
        let mut canaries = lock(&self.0);
        for value in request.values().iter().flatten() {
            canaries.sent += 1;
            if canaries.planted.len() < CANARIES_MAX {
                canaries.planted.push(Planted { op, value: value.clone() });
                continue;
            }
            let sent = canaries.sent;
            let place = usize::try_from(canaries.random.below(sent)).ok();
            if let Some(former) = place.and_then(|place| canaries.planted.get_mut(place)) {
                *former = Planted { op, value: value.clone() };
            }
        }
    }

    /// All of them.
    #[must_use]
    pub fn planted(&self) -> Vec<Planted> {
        lock(&self.0).planted.clone()
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under the lock can be left half done.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::check::script;
    use crate::client::request::Change;
    use crate::history::answer::{SecretStatus, SecretView, VersionList, VersionView};
    use crate::history::call::{CreateSecret, OnSecret, ReadSecret};
    use crate::history::ids::NodeId;
    use crate::history::op::Reply;

    fn answered(request: &Request, book: &SecretBook) {
        let view = SecretView {
            id: "s".into(),
            folder: None,
            name: "name".to_owned(),
            description: String::new(),
            labels: std::collections::BTreeMap::new(),
            kms_key: None,
            status: SecretStatus::Active,
            deletion_protection: false,
            created_at_ns: 1,
            current: None,
        };
        let answer = Answer::Secret(view);
        let reply = Reply { answer, index: 1, term: 1, served_by: NodeId(1) };
        book.observe(request, &Outcome::Ok(reply));
    }

    #[test]
    fn a_repeated_creation_does_not_bring_back_what_was_deleted() {
        let created = Request::new(Call::CreateSecret(CreateSecret {
            folder: None,
            name: "name".to_owned(),
            kms_key: None,
            deletion_protection: false,
            first: None,
        }));
        let on = OnSecret { secret: "s".into(), if_version: None };
        let deleted = Request::new(Call::DeleteSecret(on));
        let book = SecretBook::default();
        answered(&created, &book);
        assert_eq!(book.secrets(), ["s".into()]);
        answered(&deleted, &book);
        answered(&created, &book);
        assert_eq!(book.secrets(), []);
    }

    #[test]
    fn what_a_list_shows_as_destroyed_is_remembered_with_who_saw_it_first() {
        let listed = Request::new(Call::ListVersions(ReadSecret { secret: "s".into() }));
        let version = |id, status| VersionView { status, ..script::version(id, "", &["a"]) };
        let versions = vec![
            version("v1", VersionStatus::Destroyed),
            version("v2", VersionStatus::Scheduled),
            version("v3", VersionStatus::Active),
        ];
        let answer = Answer::Versions(VersionList { versions, complete: true });
        let reply = Reply { answer, index: 1, term: 1, served_by: NodeId(1) };
        let book = DestroyedBook::default();
        for op in [OpId(5), OpId(6)] {
            book.observe(op, &listed, &Outcome::Ok(reply.clone()));
        }
        let first = Destroyed { op: OpId(5), secret: "s".into(), version: "v1".into() };
        assert_eq!(book.versions(), [first]);
    }

    #[test]
    fn values_of_the_whole_run_are_remembered() {
        let book = CanaryBook::default();
        let sent = 4 * CANARIES_MAX as u64;
        for op in 0..sent {
            let value = Some(Plaintext::Text(Zeroizing::new(op.to_string())));
            let change = Change { key: "key".into(), value };
            let request = Request::with_values(vec![change], |_| {
                Call::GetSecret(ReadSecret { secret: "s".into() })
            });
            book.plant(OpId(op), &request);
        }
        let planted = book.planted();
        assert_eq!(planted.len(), CANARIES_MAX);
        let quarter = |at: u64| {
            let range = at * sent / 4..(at + 1) * sent / 4;
            planted.iter().filter(|planted| range.contains(&planted.op.0)).count()
        };
        for at in 0..4 {
            let count = quarter(at);
            assert!((900..1150).contains(&count), "{count} of quarter {at}");
        }
    }
}

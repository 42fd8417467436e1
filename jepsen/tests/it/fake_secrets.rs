//! A fake of the service that is just good enough to keep generators going.
//!
//! Ids are numbers, nothing is refused but what is gone, and some calls are never answered.

use std::collections::{BTreeMap, BTreeSet};

use lockbox_jepsen::client::request::Request;
use lockbox_jepsen::history::answer::{
    Answer, Code, PayloadView, Refusal, SecretPage, SecretStatus, SecretView, VersionList,
    VersionStatus, VersionView,
};
use lockbox_jepsen::history::call::{Call, ListSecrets};
use lockbox_jepsen::history::ids::{NodeId, SecretId, VersionId};
use lockbox_jepsen::history::op::{Failure, Outcome, Reply};
use lockbox_jepsen::model::quota::SECRETS_MAX;

#[derive(Default)]
pub(crate) struct FakeSecrets {
    secrets: BTreeMap<SecretId, SecretView>,
    made: u64,
    asked: u64,
    /// Ids that were given under a key.
    keyed: BTreeMap<String, Answer>,
    gone: BTreeSet<SecretId>,
}

impl FakeSecrets {
    /// Answers; one call in twenty is not answered, though it is done.
    pub(crate) fn ask(&mut self, request: &Request) -> Outcome {
        self.asked += 1;
        let key = request.idempotency_key.as_ref().map(ToString::to_string);
        let known = key.as_ref().and_then(|key| self.keyed.get(key).cloned());
        let answer = known.unwrap_or_else(|| self.decide(request.call()));
        if let Some(key) = key {
            self.keyed.insert(key, answer.clone());
        }
        if self.asked.is_multiple_of(20) {
            let message = "no answer in time".to_owned();
            return Outcome::Info(Failure { code: Code::DeadlineExceeded, message });
        }
        Outcome::Ok(Reply { answer, index: self.asked, term: 1, served_by: NodeId(1) })
    }

    fn decide(&mut self, call: &Call) -> Answer {
        let refused = |code| Answer::Refused(Refusal { code, message: String::new() });
        if let Call::CreateSecret(call) = call {
            let beside = |view: &&SecretView| view.folder == call.folder;
            let full = self.secrets.values().filter(beside).count() >= SECRETS_MAX as usize;
            if call.folder.is_some() && full {
                return refused(Code::ResourceExhausted);
            }
            let current = call.first.as_ref().map(|_| self.version());
            let view = SecretView {
                id: SecretId::from(self.next_id().as_str()),
                folder: call.folder.clone(),
                name: call.name.clone(),
                description: String::new(),
                labels: BTreeMap::new(),
                kms_key: call.kms_key.clone(),
                status: SecretStatus::Active,
                deletion_protection: call.deletion_protection,
                created_at_ns: 1,
                current,
            };
            self.secrets.insert(view.id.clone(), view.clone());
            return Answer::Secret(view);
        }
        if let Call::ListSecrets(call) = call {
            return self.page(call);
        }
        if let Call::RevokeToken(_) = call {
            return Answer::Done;
        }
        let id = call.secret().unwrap().clone();
        let Some(mut view) = self.secrets.get(&id).cloned() else {
            assert!(self.gone.contains(&id), "{id} was never given to anybody");
            return refused(Code::NotFound);
        };
        let answer = match call {
            Call::AddVersion(_) => {
                let version = self.version();
                view.current = Some(version.clone());
                Answer::Version(version)
            }
            Call::SetCurrentVersion(call) => {
                let version = VersionView { id: call.version.clone(), ..self.version() };
                view.current = Some(version.clone());
                Answer::Version(version)
            }
            Call::Activate(_) => {
                view.status = SecretStatus::Active;
                Answer::Secret(view.clone())
            }
            Call::Deactivate(_) => {
                view.status = SecretStatus::Inactive;
                Answer::Secret(view.clone())
            }
            Call::UpdateSecret(call) => {
                view.deletion_protection =
                    call.deletion_protection.unwrap_or(view.deletion_protection);
                Answer::Secret(view.clone())
            }
            Call::DeleteSecret(_) if view.deletion_protection => refused(Code::FailedPrecondition),
            Call::DeleteSecret(_) => {
                self.gone.insert(id.clone());
                self.secrets.remove(&id);
                return Answer::Secret(view);
            }
            Call::GetSecret(_) => Answer::Secret(view.clone()),
            Call::ListVersions(_) => {
                let versions = view.current.iter().cloned().collect();
                Answer::Versions(VersionList { versions, complete: true })
            }
            Call::GetPayload(call) => match call.version.clone().or(view.current_id()) {
                Some(version) => Answer::Payload(PayloadView { version, entries: Vec::new() }),
                None => refused(Code::FailedPrecondition),
            },
            Call::ChangeBinding(_) => Answer::Done,
            Call::ScheduleDestruction(call) => Answer::Version(VersionView {
                id: call.version.clone(),
                status: VersionStatus::Scheduled,
                destroy_at_ns: Some(1),
                ..self.version()
            }),
            Call::CancelDestruction(call) => {
                Answer::Version(VersionView { id: call.version.clone(), ..self.version() })
            }
            Call::CreateSecret(_) | Call::ListSecrets(_) | Call::RevokeToken(_) => {
                panic!("answered above")
            }
        };
        self.secrets.insert(id, view);
        answer
    }

    /// Behind the id that the token is; ids are longer the later they were given.
    fn page(&self, call: &ListSecrets) -> Answer {
        let place = |id: &str| (id.len(), id.to_owned());
        let after = call.token.as_ref().map(|token| place(token.as_str()));
        let mut behind: Vec<SecretView> = self
            .secrets
            .values()
            .filter(|view| view.folder.as_ref() == Some(&call.folder))
            .filter(|view| Some(place(view.id.as_str())) > after)
            .cloned()
            .collect();
        behind.sort_by_key(|view| place(view.id.as_str()));
        let size = usize::try_from(call.page_size).unwrap();
        let more = behind.len() > size;
        behind.truncate(size);
        let next = behind.last().filter(|_| more).map(|view| view.id.as_str().into());
        Answer::Secrets(SecretPage { secrets: behind, next })
    }

    fn next_id(&mut self) -> String {
        self.made += 1;
        format!("id-{}", self.made)
    }

    fn version(&mut self) -> VersionView {
        VersionView {
            id: VersionId::from(self.next_id().as_str()),
            description: String::new(),
            status: VersionStatus::Active,
            keys: Vec::new(),
            created_at_ns: 1,
            destroy_at_ns: None,
        }
    }
}

trait CurrentId {
    fn current_id(&self) -> Option<VersionId>;
}

impl CurrentId for SecretView {
    fn current_id(&self) -> Option<VersionId> {
        self.current.as_ref().map(|version| version.id.clone())
    }
}

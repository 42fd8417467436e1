//! What the KMS is told about a caller (`design §7`): an assertion made in the read's own view.

use lockbox_core::{LogTime, Permission, Role, Subject, SubjectKind, VersionId};
use lockbox_platform::request::RequestContext;
use lockbox_proto::lockbox::kms::v1::{CallerAssertion, Grant};
use lockbox_raft::apply::Refusal;
use lockbox_raft::domain::{AccessBinding, Rejection};
use lockbox_raft::state::TimedView;
use lockbox_raft::state::holdings::{Holding, holdings};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::authn::Caller;

/// How long the KMS accepts an assertion, in milliseconds (`design §7`).
const ASSERTION_LIFE_MS: u64 = 5_000;
/// Roles that one assertion can carry, in bytes: it travels in a header, and servers take 32 KiB
/// of headers, base64 and all the others included.
const GRANTS_BYTES_MAX: u32 = 20 << 10;
/// Containers that one subject may hold roles on and still use own keys: bounds a read's work.
const HOLDINGS_MAX: usize = 10_000;
/// The system sets that every caller belongs to (`contract §4.6`).
const EVERYBODY: [&str; 2] = ["allAuthenticatedUsers", "allUsers"];

/// The caller's roles that can matter to the KMS, as one view has them.
///
/// The key may live in any folder: only the KMS knows which. So it is told every role that the
/// caller holds on a container. A role on a secret has no effect on a key (`contract §4.5`), and
/// one on the key itself is the KMS's to know. A role that ends is told while it lasts: the
/// assertion is for this one read, and is judged by the read's own moment as all of it is.
///
/// # Errors
/// [`Rejection::QuotaExceeded`] when the roles do not fit into one assertion: leaving some out
/// would deny what was granted without saying why. Or a storage error.
pub fn kms_grants(view: &TimedView<'_>, caller: &Caller) -> Result<Grants, Refusal> {
    let system = |id: &str| Subject { kind: SubjectKind::System, id: id.to_owned() };
    let mut grants = Vec::new();
    let mut left = HOLDINGS_MAX;
    for subject in EVERYBODY.map(system).iter().chain([&caller.subject]) {
        let held = holdings(view, subject, left.saturating_add(1))?;
        left = left.checked_sub(held.len()).ok_or_else(too_many)?;
        grants.extend(held.iter().flat_map(|held| assertable(held, view.now())));
    }
    let bytes: usize = grants.iter().map(Message::encoded_len).sum();
    if bytes > GRANTS_BYTES_MAX as usize {
        return Err(too_many());
    }
    Ok(Grants(grants))
}

fn too_many() -> Refusal {
    let quota = "kms.asserted-roles.bytes".to_owned();
    Rejection::QuotaExceeded { quota, limit: GRANTS_BYTES_MAX }.into()
}

/// What of a holding the KMS is told: it knows of no conditions, so what has ended is left out, and
/// what is for the current version of a secret says nothing of a key.
fn assertable(held: &Holding, now: LogTime) -> impl Iterator<Item = Grant> + '_ {
    let concerns = |role_id: &str| Role::parse(role_id).is_some_and(Role::concerns_kms);
    let roles = held.bindings.iter().filter_map(move |binding| told_role(binding, now));
    roles.filter(move |role_id| concerns(role_id)).map(|role_id| Grant {
        resource_type: held.on.kind.audit_name().to_owned(),
        resource_id: held.on.id.clone(),
        role_id: role_id.to_owned(),
    })
}

/// The role that the KMS is told for a binding, if the binding counts at this time.
///
/// A role that ends leaves nothing behind that does not: one with which bindings of keys could be
/// changed, and keys ended, passes for the greatest one that does neither.
#[must_use]
pub fn told_role(binding: &AccessBinding, now: LogTime) -> Option<&str> {
    if binding.has_ended(now) || binding.only_current_version() {
        return None;
    }
    let grants = |role: Role| role.grants(Permission::KmsKeysSetAccessBindings);
    if binding.not_after.is_some() && Role::parse(&binding.role_id).is_some_and(grants) {
        return Some(Role::KmsEditor.as_str());
    }
    Some(&binding.role_id)
}

/// The caller's roles, ready to be asserted.
#[derive(Debug, Clone, Default)]
pub struct Grants(Vec<Grant>);

/// What the repeats of one crypto call have in common: the KMS bills them once (`design §9`).
#[derive(Debug, Clone, Copy)]
pub struct KmsStep<'a> {
    /// What the call is for within the request: `seal`, or `open` of a base.
    pub step: &'static str,
    /// The version that it seals or opens.
    pub version_id: &'a VersionId,
    /// The attempt that it belongs to.
    pub scope: KmsScope<'a>,
}

/// Which requests count as one attempt.
#[derive(Debug, Clone, Copy)]
pub enum KmsScope<'a> {
    /// Every request under this `idempotency-key`: a mutation and its retries.
    Key(&'a str),
    /// One request: a read, or a mutation without a key. Its own merges repeat within it.
    Request(&'a [u8; 16]),
}

/// Who asserts what about whom, and when.
pub struct Asserting<'a> {
    /// The caller.
    pub caller: &'a Caller,
    /// Its name, as the view has it; for the KMS's audit.
    pub caller_name: &'a str,
    /// The caller's request.
    pub context: &'a RequestContext,
    /// The Raft index of the view that the roles were read from.
    pub index: u64,
    /// Now, milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

impl Grants {
    /// The assertion for one call of the KMS; without a step for one that is not billed.
    #[must_use]
    pub fn assertion(&self, by: &Asserting<'_>, step: Option<KmsStep<'_>>) -> CallerAssertion {
        let Asserting { caller, caller_name, context, index, wall_ms } = *by;
        let kms_request_id = step.map(|step| kms_request_id(caller, &context.method, step));
        CallerAssertion {
            subject_type: caller.subject.kind.as_str().to_owned(),
            subject_id: caller.subject.id.clone(),
            subject_name: caller_name.to_owned(),
            token_id: caller.token.token_id.to_string(),
            grants: self.0.clone(),
            // The KMS keeps each key's path; it needs no other folder's.
            folders: Vec::new(),
            request_id: context.request_id.clone(),
            index,
            issued_at_ms: wall_ms,
            expires_at_ms: wall_ms.saturating_add(ASSERTION_LIFE_MS),
            kms_request_id: kms_request_id.unwrap_or_default(),
            cluster_id: String::new(),
            remote_address: context.remote.map(|a| a.to_string()).unwrap_or_default(),
            user_agent: context.user_agent.clone(),
        }
    }
}

/// A hash of (subject, method, attempt, step, version id) (`design §9`).
fn kms_request_id(caller: &Caller, method: &str, step: KmsStep<'_>) -> Vec<u8> {
    let subject = caller.subject.to_string();
    let (kind, attempt): (&[u8], &[u8]) = match step.scope {
        KmsScope::Key(key) => (b"key", key.as_bytes()),
        KmsScope::Request(nonce) => (b"request", nonce),
    };
    let version_id = step.version_id.as_str().as_bytes();
    let mut hash = Sha256::new();
    for part in
        [subject.as_bytes(), method.as_bytes(), kind, attempt, step.step.as_bytes(), version_id]
    {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use lockbox_core::{ResourceKind, ResourceRef, ServiceAccountId, TokenId};
    use lockbox_raft::domain::command::TokenRef;
    use lockbox_raft::domain::{Versions, codec};
    use lockbox_raft::error::StorageError;
    use lockbox_raft::state::{Row, Scan, Space, StateRead, keys};

    use super::*;

    /// A state of nothing but holdings.
    #[derive(Default)]
    struct Held(BTreeMap<Vec<u8>, Vec<u8>>);

    impl StateRead for Held {
        fn get(&self, _: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
            Ok(self.0.get(key).cloned())
        }

        fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StorageError> {
            let rows = self.0.range(scan.from.clone()..scan.to.clone()).take(scan.limit);
            Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
        }
    }

    impl Held {
        fn bind(&mut self, folder: usize, binding: AccessBinding) {
            let on = ResourceRef::new(ResourceKind::Folder, &format!("folder{folder:05}"));
            let key = keys::holding(&binding.subject, &on);
            let holding = Holding { on, bindings: vec![binding] };
            self.0.insert(key, codec::encode(&holding));
        }
    }

    fn caller() -> Caller {
        Caller {
            subject: Subject::service_account(&ServiceAccountId::parse("a").unwrap()),
            token: TokenRef {
                token_id: TokenId::parse("t").unwrap(),
                credential_id: None,
                expires_at: LogTime::from_ms(1),
                maker: None,
            },
            masked_token: String::new(),
        }
    }

    fn asserted(state: &Held) -> Vec<(String, String)> {
        asserted_at(state, 1_000)
    }

    fn asserted_at(state: &Held, ms: u64) -> Vec<(String, String)> {
        let view = TimedView::new(state, LogTime::from_ms(ms));
        let grants = kms_grants(&view, &caller()).unwrap().0;
        grants.into_iter().map(|grant| (grant.resource_id, grant.role_id)).collect()
    }

    #[test]
    fn a_role_is_found_behind_any_number_of_folders() {
        let mut state = Held::default();
        for folder in 0..1_500 {
            state.bind(folder, AccessBinding::new("lockbox.viewer", caller().subject));
        }
        state.bind(1_500, AccessBinding::new("kms.keys.decrypter", caller().subject));
        assert_eq!(asserted(&state), [("folder01500".into(), "kms.keys.decrypter".into())]);
    }

    #[test]
    fn roles_of_everybody_count_and_foreign_ones_do_not() {
        let mut state = Held::default();
        let everybody = Subject { kind: SubjectKind::System, id: "allAuthenticatedUsers".into() };
        state.bind(1, AccessBinding::new("kms.keys.encrypter", everybody));
        let other = Subject::service_account(&ServiceAccountId::parse("b").unwrap());
        state.bind(3, AccessBinding::new("kms.admin", other));
        assert_eq!(asserted(&state), [("folder00001".into(), "kms.keys.encrypter".into())]);
    }

    #[test]
    fn a_role_is_told_until_it_ends_and_never_for_a_condition_that_the_kms_does_not_know() {
        let mut state = Held::default();
        let until = AccessBinding {
            not_after: Some(LogTime::from_ms(2_000)),
            ..AccessBinding::new("kms.keys.decrypter", caller().subject)
        };
        state.bind(1, until);
        // No command makes one.
        let current = AccessBinding {
            versions: Some(Versions::Current),
            ..AccessBinding::new("kms.admin", caller().subject)
        };
        state.bind(2, current);
        let administrator = AccessBinding {
            not_after: Some(LogTime::from_ms(2_001)),
            ..AccessBinding::new("admin", caller().subject)
        };
        state.bind(3, administrator);
        let told = [("folder00001", "kms.keys.decrypter"), ("folder00003", "kms.editor")]
            .map(|(folder, role)| (folder.to_owned(), role.to_owned()));
        assert_eq!(asserted_at(&state, 1_999), told);
        assert_eq!(asserted_at(&state, 2_000), told[1..]);
        assert_eq!(asserted_at(&state, 2_001), []);
    }

    #[test]
    fn what_passes_for_a_role_that_ends_is_the_most_that_grants_nothing() {
        for role in
            Role::ALL.iter().filter(|role| role.grants(Permission::KmsKeysSetAccessBindings))
        {
            let of_kms = role.permissions().filter(|p| p.as_str().starts_with("kms."));
            let lost: BTreeSet<_> =
                of_kms.filter(|permission| !Role::KmsEditor.grants(*permission)).collect();
            let expected = [
                Permission::KmsKeysSetStatus,
                Permission::KmsKeysAdminister,
                Permission::KmsKeysSetAccessBindings,
            ];
            assert_eq!(lost, BTreeSet::from(expected), "{role:?}");
        }
    }

    #[test]
    fn roles_that_do_not_fit_are_refused_and_not_left_out() {
        let mut state = Held::default();
        for folder in 0..1_000 {
            state.bind(folder, AccessBinding::new("kms.keys.decrypter", caller().subject));
        }
        let view = TimedView::new(&state, LogTime::default());
        let refused = kms_grants(&view, &caller()).err();
        let Some(Refusal::Rejected(Rejection::QuotaExceeded { .. })) = refused else {
            panic!("{refused:?}")
        };
    }
}

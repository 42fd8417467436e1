//! One call on one secret: the answer that the contract demands, and the state after it.
//!
//! The order of checks is `contract §5.2`: unknown, forbidden, then conflicts with the state.

use std::sync::Arc;

use crate::history::answer::{Answer, Code, PayloadEntry, SecretStatus, VersionStatus};
use crate::history::call::{
    AddVersion, Call, ChangeBinding, CreateSecret, GetPayload, UpdateSecret,
};
use crate::history::ids::{OpId, SecretId, Subject, VersionId};
use crate::history::makers;
use crate::history::op::Op;

use super::expected::{Expected, SecretShape};
use super::merge::{merge, repeats_a_key};
use super::rights;
use super::secret::{Content, Facts, Secret, SecretState, Version};

/// Versions that a secret may have, without destroyed ones (`contract §9`).
pub const VERSIONS_MAX: usize = 1000;

/// What ids of things begin with whose ids nobody knows.
const UNKNOWN: char = '?';

const NOT_FOUND: Expected = Expected::Refused(&[Code::NotFound]);
const DENIED: Expected = Expected::Refused(&[Code::PermissionDenied]);
const ABORTED: Expected = Expected::Refused(&[Code::Aborted]);
const CONFLICT: Expected = Expected::Refused(&[Code::FailedPrecondition]);
const INVALID: Expected = Expected::Refused(&[Code::InvalidArgument]);
const EXHAUSTED: Expected = Expected::Refused(&[Code::ResourceExhausted]);
/// A named version that is unknown, of a secret that is inactive: `contract §5.2` puts NOT_FOUND
/// first, the tables of `§2.2` say FAILED_PRECONDITION for every payload read.
const UNKNOWN_OR_CONFLICT: Expected =
    Expected::Refused(&[Code::NotFound, Code::FailedPrecondition]);

/// The ids that the server chose for what an operation makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Of a new secret.
    pub secret: SecretId,
    /// Of a new version.
    pub version: VersionId,
}

impl Named {
    /// The ids that the answer to an operation tells, and for the rest such as no server gives.
    #[must_use]
    pub fn by_answer(op: &Op) -> Self {
        let mut named = Self::unknown(op.id);
        if let Some(secret) = op.secret() {
            named.secret = secret.clone();
        }
        if let Some((_, version)) = makers::made(op) {
            named.version = version;
        }
        named
    }

    /// Ids that no server gives: nothing that is shown can be equal to them.
    #[must_use]
    pub fn unknown(op: OpId) -> Self {
        let name = format!("{UNKNOWN}{op}");
        Self { secret: name.as_str().into(), version: name.as_str().into() }
    }

    /// Whether this is an id that no server gives.
    #[must_use]
    pub fn is_unknown(version: &VersionId) -> bool {
        version.as_str().starts_with(UNKNOWN)
    }
}

/// What a call comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The answer.
    pub answer: Expected,
    /// The state after it, if it is another one.
    pub next: Option<SecretState>,
}

impl Step {
    const fn stays(answer: Expected) -> Self {
        Self { answer, next: None }
    }

    fn becomes(answer: Expected, secret: Secret) -> Self {
        Self { answer, next: Some(SecretState::Live(secret)) }
    }
}

/// Runs one call.
#[must_use]
pub fn step(state: &SecretState, subject: Option<&Subject>, call: &Call, named: &Named) -> Step {
    if let Call::CreateSecret(create) = call {
        return create_secret(state, subject, create, named);
    }
    let Some(secret) = state.live() else { return Step::stays(NOT_FOUND) };
    if !rights::may(&secret.facts, subject, call) {
        return Step::stays(DENIED);
    }
    if let Some(expected) = call.if_version()
        && secret.current().map(|version| &version.content.id) != Some(expected)
    {
        return Step::stays(ABORTED);
    }
    match call {
        // Taken care of above; a repeated creation is the same answer.
        Call::CreateSecret(create) => create_secret(state, subject, create, named),
        Call::AddVersion(call) => add_version(secret, call, named),
        Call::SetCurrentVersion(call) => set_current(secret, &call.version),
        Call::ScheduleDestruction(call) => schedule(secret, &call.version),
        Call::CancelDestruction(call) => cancel(secret, &call.version),
        Call::Activate(_) => set_status(secret, SecretStatus::Active),
        Call::Deactivate(_) => set_status(secret, SecretStatus::Inactive),
        Call::DeleteSecret(_) => delete(secret),
        Call::UpdateSecret(call) => update(secret, call),
        Call::ChangeBinding(call) => change_binding(secret, call),
        Call::GetSecret(_) => Step::stays(Expected::Secret(secret.into())),
        Call::ListVersions(_) => Step::stays(Expected::Versions(secret.versions.clone())),
        Call::GetPayload(call) => Step::stays(payload(secret, call)),
        Call::ListSecrets(_) | Call::RevokeToken(_) => {
            Step::stays(Expected::Impossible("the call is about no single secret"))
        }
    }
}

fn create_secret(
    state: &SecretState,
    subject: Option<&Subject>,
    call: &CreateSecret,
    named: &Named,
) -> Step {
    if subject.is_some() {
        return Step::stays(DENIED);
    }
    if *state != SecretState::Absent {
        return Step::stays(Expected::Impossible("the secret's id was given before"));
    }
    let mut secret = Secret {
        facts: Arc::new(Facts {
            id: named.secret.clone(),
            folder: call.folder.clone(),
            name: call.name.clone(),
            description: String::new(),
            labels: std::collections::BTreeMap::new(),
            kms_key: call.kms_key.clone(),
            deletion_protection: call.deletion_protection,
            bindings: std::collections::BTreeSet::new(),
        }),
        status: SecretStatus::Active,
        versions: Vec::new(),
        current: None,
    };
    if let Some(first) = &call.first {
        let sets = first.entries.iter().all(|entry| entry.value.is_some());
        if !sets || first.entries.is_empty() || repeats_a_key(&first.entries) {
            return Step::stays(INVALID);
        }
        let entries = merge(&[], &first.entries);
        push(&mut secret, &named.version, &first.description, entries);
    }
    Step::becomes(Expected::Secret(SecretShape::from(&secret)), secret)
}

/// Appends a version and makes it current (`contract §2.4`).
fn push(secret: &mut Secret, id: &VersionId, description: &str, entries: Vec<PayloadEntry>) {
    let content = Arc::new(Content::new(id.clone(), description.to_owned(), entries));
    secret.versions.push(Version { content, status: VersionStatus::Active });
    secret.current = Some(secret.versions.len() - 1);
}

fn add_version(secret: &Secret, call: &AddVersion, named: &Named) -> Step {
    if secret.status == SecretStatus::Inactive {
        return Step::stays(CONFLICT);
    }
    let base = match &call.base {
        Some(id) => match secret.place_of(id).map(|place| &secret.versions[place]) {
            None => return Step::stays(NOT_FOUND),
            Some(version) if version.status != VersionStatus::Active => {
                return Step::stays(CONFLICT);
            }
            Some(version) => Some(version),
        },
        None => secret.current().filter(|version| version.status == VersionStatus::Active),
    };
    if repeats_a_key(&call.changes) {
        return Step::stays(INVALID);
    }
    let base_entries = base.map_or(&[][..], |version| version.content.entries.as_slice());
    let entries = merge(base_entries, &call.changes);
    if entries.is_empty() {
        return Step::stays(INVALID);
    }
    if secret.live_versions() >= VERSIONS_MAX {
        return Step::stays(EXHAUSTED);
    }
    if secret.place_of(&named.version).is_some() {
        return Step::stays(Expected::Impossible("the version's id was given before"));
    }
    let mut next = secret.clone();
    push(&mut next, &named.version, &call.description, entries);
    let made = next.versions[next.versions.len() - 1].clone();
    Step::becomes(Expected::Version(made), next)
}

fn set_current(secret: &Secret, id: &VersionId) -> Step {
    let Some(place) = secret.place_of(id) else { return Step::stays(NOT_FOUND) };
    let version = &secret.versions[place];
    if version.status != VersionStatus::Active {
        return Step::stays(CONFLICT);
    }
    let answer = Expected::Version(version.clone());
    if secret.current == Some(place) {
        return Step::stays(answer);
    }
    let mut next = secret.clone();
    next.current = Some(place);
    Step::becomes(answer, next)
}

fn schedule(secret: &Secret, id: &VersionId) -> Step {
    let Some(place) = secret.place_of(id) else { return Step::stays(NOT_FOUND) };
    match secret.versions[place].status {
        VersionStatus::Destroyed => Step::stays(CONFLICT),
        VersionStatus::Active | VersionStatus::Scheduled => {
            with_status(secret, place, VersionStatus::Scheduled)
        }
    }
}

fn cancel(secret: &Secret, id: &VersionId) -> Step {
    let Some(place) = secret.place_of(id) else { return Step::stays(NOT_FOUND) };
    match secret.versions[place].status {
        VersionStatus::Active | VersionStatus::Destroyed => Step::stays(CONFLICT),
        VersionStatus::Scheduled => with_status(secret, place, VersionStatus::Active),
    }
}

fn with_status(secret: &Secret, place: usize, status: VersionStatus) -> Step {
    let mut next = secret.clone();
    next.versions[place].status = status;
    let answer = Expected::Version(next.versions[place].clone());
    if next == *secret { Step::stays(answer) } else { Step::becomes(answer, next) }
}

fn set_status(secret: &Secret, status: SecretStatus) -> Step {
    let mut next = secret.clone();
    next.status = status;
    let answer = Expected::Secret(SecretShape::from(&next));
    // Doing it again is a success without change (`contract §2.2`).
    if secret.status == status { Step::stays(answer) } else { Step::becomes(answer, next) }
}

fn delete(secret: &Secret) -> Step {
    if secret.facts.deletion_protection {
        return Step::stays(CONFLICT);
    }
    Step { answer: Expected::Secret(secret.into()), next: Some(SecretState::Deleted) }
}

fn update(secret: &Secret, call: &UpdateSecret) -> Step {
    let nothing = call.name.is_none()
        && call.description.is_none()
        && call.labels.is_none()
        && call.deletion_protection.is_none();
    if nothing {
        return Step::stays(INVALID);
    }
    let mut facts = Facts::clone(&secret.facts);
    if let Some(name) = &call.name {
        facts.name.clone_from(name);
    }
    if let Some(description) = &call.description {
        facts.description.clone_from(description);
    }
    if let Some(labels) = &call.labels {
        facts.labels.clone_from(labels);
    }
    if let Some(protection) = call.deletion_protection {
        facts.deletion_protection = protection;
    }
    with_facts(secret, facts, |next| Expected::Secret(next.into()))
}

/// Adding what is there and removing what is not are no errors (`contract §2.12`).
fn change_binding(secret: &Secret, call: &ChangeBinding) -> Step {
    let mut facts = Facts::clone(&secret.facts);
    let binding = (call.role.clone(), call.member.clone());
    if call.grant {
        facts.bindings.insert(binding);
    } else {
        facts.bindings.remove(&binding);
    }
    with_facts(secret, facts, |_| Expected::Done)
}

fn with_facts(secret: &Secret, facts: Facts, answer: impl Fn(&Secret) -> Expected) -> Step {
    if facts == *secret.facts {
        return Step::stays(answer(secret));
    }
    let mut next = secret.clone();
    next.facts = Arc::new(facts);
    Step::becomes(answer(&next), next)
}

fn payload(secret: &Secret, call: &GetPayload) -> Expected {
    let place = match &call.version {
        Some(id) => match (secret.place_of(id), secret.status) {
            (Some(place), _) => Some(place),
            (None, SecretStatus::Active) => return NOT_FOUND,
            (None, SecretStatus::Inactive) => return UNKNOWN_OR_CONFLICT,
        },
        None => secret.current,
    };
    let version = place.map(|place| &secret.versions[place]);
    match (secret.status, version) {
        (SecretStatus::Active, Some(version)) if version.status == VersionStatus::Active => {
            Expected::Payload(Arc::clone(&version.content))
        }
        (SecretStatus::Active | SecretStatus::Inactive, _) => CONFLICT,
    }
}

/// The state in which an answer makes sense that shows a scheduled version destroyed: the clock
/// may do that between any two calls, and only an answer tells.
#[must_use]
pub fn clock_passed(state: &SecretState, call: &Call, answer: &Answer) -> Option<SecretState> {
    let mut passed: Option<SecretState> = None;
    let mut destroy = |id: &VersionId| {
        if let Some(next) = passed.as_ref().unwrap_or(state).destroyed(id) {
            passed = Some(next);
        }
    };
    for view in answer.versions() {
        if view.status == VersionStatus::Destroyed {
            destroy(&view.id);
        }
    }
    if let Answer::Refused(refusal) = answer
        && refusal.code == Code::FailedPrecondition
    {
        match call {
            Call::ScheduleDestruction(call) => destroy(&call.version),
            Call::CancelDestruction(call) => destroy(&call.version),
            Call::CreateSecret(_)
            | Call::AddVersion(_)
            | Call::SetCurrentVersion(_)
            | Call::Activate(_)
            | Call::Deactivate(_)
            | Call::DeleteSecret(_)
            | Call::UpdateSecret(_)
            | Call::ChangeBinding(_)
            | Call::RevokeToken(_)
            | Call::GetSecret(_)
            | Call::ListVersions(_)
            | Call::GetPayload(_)
            | Call::ListSecrets(_) => {}
        }
    }
    passed
}

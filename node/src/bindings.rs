//! Access bindings between the wire, the domain and the audit (`contract §1.7`, `§2.12`).

use lockbox_core::{SecretId, ServiceAccountId, Subject, SubjectKind};
use lockbox_platform::audit::details as audit;
use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::iam::v1 as own;
use lockbox_proto::yandex::cloud::access as wire;
use lockbox_raft::domain::binding::{AccessBinding, BindingDelta, BindingSet, DeltaAction};
use lockbox_raft::error::StorageError;
use lockbox_raft::state::{StateRead, tables};
use sha2::{Digest, Sha256};

use crate::conditions;

/// A subject as a request has it, at this path of the request.
fn subject(named: Option<wire::Subject>, at: &str) -> Result<Subject, ApiError> {
    let named = named.unwrap_or_default();
    let kind = SubjectKind::parse(&named.r#type).ok_or_else(|| {
        ApiError::invalid(format!("{at}.subject.type"), "is not a known type of subject")
    })?;
    Ok(Subject { kind, id: named.id })
}

/// A binding as a request has it, at this path of the request; whether the role exists is the
/// state's to say.
fn from_wire(binding: wire::AccessBinding, at: &str) -> Result<AccessBinding, ApiError> {
    let subject = subject(binding.subject, at)?;
    conditions::read(&binding.role_id, subject)
        .map_err(|wrong| ApiError::invalid(format!("{at}.role_id"), wrong))
}

/// The same of one of our own messages.
fn from_own(binding: own::Binding, at: &str) -> Result<AccessBinding, ApiError> {
    if binding.role_id.contains(conditions::MARK) {
        let description = "has conditions, which have a field of their own";
        return Err(ApiError::invalid(format!("{at}.role_id"), description));
    }
    let plain = AccessBinding::new(&binding.role_id, subject(binding.subject, at)?);
    conditions::from_own(plain, binding.conditions)
        .map_err(|wrong| ApiError::invalid(format!("{at}.conditions.not_after"), wrong))
}

/// The whole new set of a request.
///
/// # Errors
/// INVALID_ARGUMENT for an unknown type of subject.
pub fn set_from_wire(bindings: Vec<wire::AccessBinding>) -> Result<Vec<AccessBinding>, ApiError> {
    let one = |(position, binding)| from_wire(binding, &format!("access_bindings[{position}]"));
    bindings.into_iter().enumerate().map(one).collect()
}

/// The changes of a request.
///
/// # Errors
/// As [`set_from_wire`]; INVALID_ARGUMENT for an action that is neither, and for conditions that are
/// none.
pub fn deltas_from_wire(
    deltas: Vec<wire::AccessBindingDelta>,
) -> Result<Vec<BindingDelta>, ApiError> {
    let one = |(position, delta): (usize, wire::AccessBindingDelta)| {
        let at = format!("access_binding_deltas[{position}]");
        let action = action(delta.action(), &at)?;
        let binding = delta.access_binding.unwrap_or_default();
        let binding = from_wire(binding, &format!("{at}.access_binding"))?;
        Ok(BindingDelta { action, binding })
    };
    deltas.into_iter().enumerate().map(one).collect()
}

/// The changes of one of our own requests.
///
/// # Errors
/// As [`deltas_from_wire`].
pub fn deltas_from_own(deltas: Vec<own::BindingDelta>) -> Result<Vec<BindingDelta>, ApiError> {
    let one = |(position, delta): (usize, own::BindingDelta)| {
        let at = format!("deltas[{position}]");
        let action = action(delta.action(), &at)?;
        let binding = from_own(delta.binding.unwrap_or_default(), &format!("{at}.binding"))?;
        Ok(BindingDelta { action, binding })
    };
    deltas.into_iter().enumerate().map(one).collect()
}

fn action(action: wire::AccessBindingAction, at: &str) -> Result<DeltaAction, ApiError> {
    match action {
        wire::AccessBindingAction::Add => Ok(DeltaAction::Add),
        wire::AccessBindingAction::Remove => Ok(DeltaAction::Remove),
        wire::AccessBindingAction::Unspecified => {
            Err(ApiError::invalid(format!("{at}.action"), "value is required"))
        }
    }
}

fn subject_to_wire(subject: &Subject) -> wire::Subject {
    wire::Subject { id: subject.id.clone(), r#type: subject.kind.as_str().to_owned() }
}

/// A binding on the wire, its conditions noted behind the role id.
#[must_use]
pub fn to_wire(binding: &AccessBinding) -> wire::AccessBinding {
    let subject = Some(subject_to_wire(&binding.subject));
    wire::AccessBinding { role_id: conditions::noted(binding), subject }
}

/// A binding in one of our own messages.
#[must_use]
pub fn to_own(binding: &AccessBinding) -> own::Binding {
    own::Binding {
        role_id: binding.role_id.clone(),
        subject: Some(subject_to_wire(&binding.subject)),
        conditions: conditions::to_own(binding),
    }
}

/// What an operation on bindings answers with.
#[must_use]
pub fn result_to_wire(effective: &[BindingDelta]) -> wire::AccessBindingsOperationResult {
    let one = |delta: &BindingDelta| wire::AccessBindingDelta {
        action: match delta.action {
            DeltaAction::Add => wire::AccessBindingAction::Add,
            DeltaAction::Remove => wire::AccessBindingAction::Remove,
        }
        .into(),
        access_binding: Some(to_wire(&delta.binding)),
    };
    wire::AccessBindingsOperationResult { effective_deltas: effective.iter().map(one).collect() }
}

/// A binding in an audit record; [`add_names`] adds what it is called.
#[must_use]
pub fn to_audit(binding: &AccessBinding) -> audit::Binding {
    audit::Binding {
        role_id: binding.role_id.clone(),
        subject_id: binding.subject.id.clone(),
        subject_type: binding.subject.kind.audit_name(),
        subject_name: String::new(),
        not_after: binding.not_after.map(Into::into),
        only_current_version: binding.only_current_version(),
    }
}

/// A change in an audit record.
#[must_use]
pub fn delta_to_audit(delta: &BindingDelta) -> audit::BindingDelta {
    audit::BindingDelta {
        action: match delta.action {
            DeltaAction::Add => audit::BindingAction::Add,
            DeltaAction::Remove => audit::BindingAction::Remove,
        },
        access_binding: to_audit(&delta.binding),
    }
}

/// Adds the names that a state has to a record: of the secret, and of accounts that are bound.
///
/// # Errors
/// [`StorageError`].
pub fn add_names(
    view: &dyn StateRead,
    details: &mut audit::AccessBindingsDetails,
) -> Result<(), StorageError> {
    if let Ok(id) = SecretId::parse(&details.secret_id) {
        let secret = tables::secret(view, &id)?;
        details.secret_name = secret.map(|secret| secret.name).unwrap_or_default();
    }
    let changed = details.access_binding_deltas.iter_mut().map(|delta| &mut delta.access_binding);
    for binding in details.access_bindings.iter_mut().chain(changed) {
        if binding.subject_type != SubjectKind::ServiceAccount.audit_name() {
            continue;
        }
        let Ok(id) = ServiceAccountId::parse(&binding.subject_id) else { continue };
        let account = tables::service_account(view, &id)?;
        binding.subject_name = account.map(|account| account.name).unwrap_or_default();
    }
    Ok(())
}

/// One page of a set, behind the place `after`, and the place of the next page.
///
/// Listed by a hash of the binding: a binding is longer than a page token may be, and a position
/// would move when others come and go between two pages.
#[must_use]
pub fn page(
    set: &BindingSet,
    after: Option<u64>,
    size: usize,
) -> (Vec<&AccessBinding>, Option<u64>) {
    let behind = |(place, _): &(u64, _)| after.is_none_or(|after| *place > after);
    let mut rows: Vec<_> = set.bindings().iter().map(|b| (place(b), b)).filter(behind).collect();
    rows.sort_unstable_by_key(|(place, _)| *place);
    let more = rows.len() > size;
    rows.truncate(size);
    let next = rows.last().map(|(place, _)| *place).filter(|_| more);
    (rows.into_iter().map(|(_, binding)| binding).collect(), next)
}

fn place(binding: &AccessBinding) -> u64 {
    let mut hash = Sha256::new();
    let role = conditions::noted(binding);
    for part in [&*role, binding.subject.kind.as_str(), &*binding.subject.id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    digest[..8].iter().fold(0, |place, byte| place << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn bindings(count: usize) -> BindingSet {
        let subject = |n| Subject { kind: SubjectKind::ServiceAccount, id: format!("aje{n}") };
        let all = (0..count).map(|n| AccessBinding::new("lockbox.viewer", subject(n)));
        BindingSet::new(all.collect())
    }

    #[test]
    fn pages_hold_each_binding_once_even_when_others_leave() {
        let mut set = bindings(10);
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = page(&set, after, 3);
            seen.extend(page.into_iter().map(|binding| binding.subject.id.clone()));
            // What was shown goes: the rest must not move.
            let gone = set.bindings().iter().find(|b| seen.contains(&b.subject.id)).cloned();
            let binding = gone.unwrap();
            set.apply(&[BindingDelta { action: DeltaAction::Remove, binding }]);
            after = next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 10);
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>().len(), 10);
        let three = bindings(3);
        let (all, next) = page(&three, None, 3);
        assert_eq!((all.len(), next), (3, None));
    }

    #[test]
    fn unknown_types_and_actions_are_named() {
        let binding = wire::AccessBinding {
            role_id: "lockbox.viewer".into(),
            subject: Some(wire::Subject { id: "a".into(), r#type: "robot".into() }),
        };
        let refused = set_from_wire(vec![binding.clone()]).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        let delta = wire::AccessBindingDelta { action: 0, access_binding: Some(binding) };
        assert_eq!(deltas_from_wire(vec![delta]).unwrap_err().code(), tonic::Code::InvalidArgument);
    }
}

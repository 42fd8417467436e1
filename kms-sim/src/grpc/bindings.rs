//! Access bindings between the wire, the store and the audit (`contract §1.7`).

use std::collections::BTreeSet;

use lockbox_core::{Subject, SubjectKind};
use lockbox_platform::audit::details as audit;
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::access as wire;

use crate::keys::command::{BindingDelta, BindingsChange};
use crate::store::records::KeyBinding;

/// A binding as a request has it, at this path of the request.
fn from_wire(binding: wire::AccessBinding, at: &str) -> Result<KeyBinding, ApiError> {
    let subject = binding.subject.unwrap_or_default();
    let kind = SubjectKind::parse(&subject.r#type).ok_or_else(|| {
        ApiError::invalid(format!("{at}.subject.type"), "is not a known type of subject")
    })?;
    Ok(KeyBinding { role_id: binding.role_id, subject: Subject { kind, id: subject.id } })
}

/// The whole new set of a request; duplicates collapse.
pub(super) fn set(bindings: Vec<wire::AccessBinding>) -> Result<BindingsChange, ApiError> {
    let one = |(position, binding)| from_wire(binding, &format!("access_bindings[{position}]"));
    let set: Result<BTreeSet<_>, _> = bindings.into_iter().enumerate().map(one).collect();
    set.map(BindingsChange::Set)
}

/// The changes of a request.
pub(super) fn deltas(deltas: Vec<wire::AccessBindingDelta>) -> Result<BindingsChange, ApiError> {
    let one = |(position, delta): (usize, wire::AccessBindingDelta)| {
        let at = format!("access_binding_deltas[{position}]");
        let action = delta.action();
        let binding = delta.access_binding.unwrap_or_default();
        let binding = from_wire(binding, &format!("{at}.access_binding"))?;
        match action {
            wire::AccessBindingAction::Add => Ok(BindingDelta::Add(binding)),
            wire::AccessBindingAction::Remove => Ok(BindingDelta::Remove(binding)),
            wire::AccessBindingAction::Unspecified => {
                Err(ApiError::invalid(format!("{at}.action"), "value is required"))
            }
        }
    };
    let deltas: Result<Vec<_>, _> = deltas.into_iter().enumerate().map(one).collect();
    deltas.map(BindingsChange::Update)
}

/// A binding on the wire.
pub(super) fn to_wire(binding: KeyBinding) -> wire::AccessBinding {
    let kind = binding.subject.kind.as_str().to_owned();
    let subject = Some(wire::Subject { id: binding.subject.id, r#type: kind });
    wire::AccessBinding { role_id: binding.role_id, subject }
}

/// Fills in what an audit record says of a change.
pub(super) fn describe(change: &BindingsChange, details: &mut audit::AccessBindingsDetails) {
    match change {
        BindingsChange::Set(set) => details.access_bindings = set.iter().map(to_audit).collect(),
        BindingsChange::Update(deltas) => {
            let delta = |delta: &BindingDelta| match delta {
                BindingDelta::Add(binding) => audit::BindingDelta {
                    action: audit::BindingAction::Add,
                    access_binding: to_audit(binding),
                },
                BindingDelta::Remove(binding) => audit::BindingDelta {
                    action: audit::BindingAction::Remove,
                    access_binding: to_audit(binding),
                },
            };
            details.access_binding_deltas = deltas.iter().map(delta).collect();
        }
    }
}

fn to_audit(binding: &KeyBinding) -> audit::Binding {
    audit::Binding {
        role_id: binding.role_id.clone(),
        subject_id: binding.subject.id.clone(),
        subject_type: binding.subject.kind.audit_name(),
        // Accounts are the cluster's.
        subject_name: String::new(),
        // Bindings of keys have no conditions.
        not_after: None,
        only_current_version: false,
    }
}

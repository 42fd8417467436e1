//! Access bindings of clouds, folders, secrets and service accounts (`contract §2.12`).

use std::collections::BTreeSet;

use lockbox_core::{ResourceKind, ResourceRef, Role, SubjectKind, SystemSubject};

use super::paths::bound_path;
use super::{Application, Effect, Refusal, access};
use crate::domain::binding::{AccessBinding, BindingDelta, BindingSet, DeltaAction};
use crate::domain::command::Envelope;
use crate::domain::operation::{OperationMetadata, OperationResult};
use crate::domain::outcome::Rejection;
use crate::error::StorageError;
use crate::state::holdings::{self, Holding};
use crate::state::{Space, StateRead, keys, tables};

/// Bindings that one resource may have (`contract §9`).
const BINDINGS_MAX: usize = 1000;

pub(super) fn set(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    resource: &ResourceRef,
    bindings: &[AccessBinding],
) -> Result<Effect, Refusal> {
    require_admin(application.state, envelope, resource)?;
    let at = |position| format!("access_bindings[{position}]");
    check(application.state, resource, bindings.iter().enumerate(), at)?;
    let set = BindingSet::new(bindings.to_vec());
    let effective = tables::bindings(application.state, resource)?.difference(&set);
    check_owners(application.state, envelope, resource, &effective)?;
    store(application, resource, &set)?;
    Ok(Effect {
        description: "Set access bindings".to_owned(),
        resource: resource.clone(),
        metadata: OperationMetadata::SetAccessBindings { resource: resource.clone() },
        result: answer(resource, effective),
    })
}

pub(super) fn update(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    resource: &ResourceRef,
    deltas: &[BindingDelta],
) -> Result<Effect, Refusal> {
    require_admin(application.state, envelope, resource)?;
    // What is taken away may be anything: an earlier rule may have let it in.
    let added = deltas.iter().enumerate().filter(|(_, d)| d.action == DeltaAction::Add);
    let added = added.map(|(position, delta)| (position, &delta.binding));
    let at = |position| format!("access_binding_deltas[{position}].access_binding");
    check(application.state, resource, added, at)?;
    let mut set = tables::bindings(application.state, resource)?;
    let effective = set.apply(deltas);
    check_owners(application.state, envelope, resource, &effective)?;
    store(application, resource, &set)?;
    Ok(Effect {
        description: "Update access bindings".to_owned(),
        resource: resource.clone(),
        metadata: OperationMetadata::UpdateAccessBindings { resource: resource.clone() },
        result: answer(resource, effective),
    })
}

/// Lockbox answers `Empty`, the other services the effective deltas (`contract §1.14` no. 12).
fn answer(resource: &ResourceRef, effective: Vec<BindingDelta>) -> OperationResult {
    match resource.kind {
        ResourceKind::Secret | ResourceKind::SecretVersion | ResourceKind::KmsKey => {
            OperationResult::Empty
        }
        ResourceKind::Organization
        | ResourceKind::Cloud
        | ResourceKind::Folder
        | ResourceKind::ServiceAccount => OperationResult::Bindings(effective),
    }
}

fn store(
    application: &mut Application<'_, '_>,
    resource: &ResourceRef,
    set: &BindingSet,
) -> Result<(), Refusal> {
    if set.bindings().len() > BINDINGS_MAX {
        let limit = u32::try_from(BINDINGS_MAX).unwrap_or(u32::MAX);
        return Err(
            Rejection::QuotaExceeded { quota: "access.bindings.count".into(), limit }.into()
        );
    }
    replace(application, resource, set)?;
    Ok(())
}

/// Stores the bindings of a resource and keeps the index of holdings in step.
pub(super) fn replace(
    application: &mut Application<'_, '_>,
    resource: &ResourceRef,
    set: &BindingSet,
) -> Result<(), StorageError> {
    let before = tables::bindings(application.state, resource)?;
    application.put(Space::Records, keys::bindings(resource), set);
    if !holdings::is_container(resource.kind) {
        return Ok(());
    }
    let subjects = before.bindings().iter().chain(set.bindings()).map(|b| &b.subject);
    for subject in subjects.collect::<BTreeSet<_>>() {
        let key = keys::holding(subject, resource);
        match Holding::of(subject, resource, set) {
            Some(holding) => application.put(Space::Records, key, &holding),
            None => application.state.delete(Space::Records, key),
        }
    }
    Ok(())
}

/// Demands the right to grant on the resource: only an administrative role has it.
fn require_admin(
    state: &dyn StateRead,
    envelope: &Envelope,
    resource: &ResourceRef,
) -> Result<(), Refusal> {
    let path = bound_path(state, resource)?;
    access::require_grantor(state, &envelope.subject, envelope.token.as_ref(), &path)
}

/// Refuses roles that are unknown or do not fit, and unknown subjects (`contract §2.12`). Ownership
/// is never everybody's (`contract §4.6`). The bindings come with their positions in the request,
/// and `at` says where that is.
fn check<'b>(
    state: &dyn StateRead,
    on: &ResourceRef,
    bindings: impl Iterator<Item = (usize, &'b AccessBinding)>,
    at: impl Fn(usize) -> String,
) -> Result<(), Refusal> {
    for (position, binding) in bindings {
        let invalid = |field: &str, description: &str| {
            Refusal::from(Rejection::InvalidArgument {
                field: format!("{}.{field}", at(position)),
                description: description.to_owned(),
            })
        };
        let Some(role) = Role::parse(&binding.role_id) else {
            return Err(invalid("role_id", "is not a known role"));
        };
        if !role.fits(on.kind) {
            return Err(invalid("role_id", "gives nothing on a resource of this kind"));
        }
        let subject = &binding.subject;
        if subject.kind == SubjectKind::System {
            if !is_known_set(state, &subject.id)? {
                return Err(invalid("subject.id", "is not a known system subject"));
            }
            if role == Role::CloudsOwner {
                return Err(invalid("subject.type", "cannot own a cloud"));
            }
        }
    }
    Ok(())
}

/// Only owners make owners, and only owners end it (`contract §4.2`). What stays as it is may be in
/// an administrator's request: clients send whole sets.
fn check_owners(
    state: &dyn StateRead,
    envelope: &Envelope,
    resource: &ResourceRef,
    effective: &[BindingDelta],
) -> Result<(), Refusal> {
    let is_owner =
        |delta: &BindingDelta| Role::parse(&delta.binding.role_id) == Some(Role::CloudsOwner);
    if effective.iter().any(is_owner) && !owns(state, envelope, resource)? {
        return Err(Rejection::PermissionDenied.into());
    }
    Ok(())
}

/// Whether a system set means somebody here: of organizations only our own does.
fn is_known_set(state: &dyn StateRead, id: &str) -> Result<bool, StorageError> {
    Ok(match SystemSubject::parse(id) {
        None => false,
        Some(SystemSubject::AllUsers | SystemSubject::AllAuthenticatedUsers) => true,
        Some(SystemSubject::OrganizationUsers(organization)) => {
            let cluster = tables::cluster(state)?;
            cluster.is_some_and(|cluster| cluster.organization_id.as_str() == organization)
        }
    })
}

fn owns(
    state: &dyn StateRead,
    envelope: &Envelope,
    resource: &ResourceRef,
) -> Result<bool, Refusal> {
    let path = bound_path(state, resource)?;
    for ancestor in path.resources() {
        let set = tables::bindings(state, ancestor)?;
        let owner = |b: &AccessBinding| {
            b.subject == envelope.subject
                && b.is_unconditional()
                && Role::parse(&b.role_id) == Some(Role::CloudsOwner)
        };
        if set.bindings().iter().any(owner) {
            return Ok(true);
        }
    }
    Ok(false)
}

//! Access bindings of clouds, folders, secrets and service accounts (`contract §2.12`), and of
//! single versions.
//!
//! A binding that has ended is none any more: whatever changes a set finds it gone, and stores the
//! set without it.

use std::collections::BTreeSet;

use lockbox_core::{
    LogTime, ResourceKind, ResourcePath, ResourceRef, Role, SecretId, SubjectKind, SystemSubject,
    VersionId,
};

use super::paths::bound_path;
use super::secret::expect_current;
use super::{Application, Effect, Refusal, access};
use crate::domain::binding::{AccessBinding, BindingDelta, BindingSet, DeltaAction};
use crate::domain::command::Envelope;
use crate::domain::operation::{OperationMetadata, OperationResult};
use crate::domain::outcome::{Precondition, Rejection};
use crate::domain::version::VersionStatus;
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
    let path = require_admin(application, envelope, resource)?;
    require_alive(application.state, resource)?;
    let at = |position| format!("access_bindings[{position}]");
    check(application, resource, bindings.iter().enumerate(), at)?;
    let set = BindingSet::new(bindings.to_vec());
    let now = application.now;
    let before = tables::bindings(application.state, resource)?.living(now);
    let effective = before.difference(&set);
    check_owners(application.state, envelope, resource, &effective)?;
    store(application, resource, &set)?;
    Ok(Effect {
        description: "Set access bindings".to_owned(),
        resource: shown_with(&path, resource),
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
    let path = require_admin(application, envelope, resource)?;
    require_alive(application.state, resource)?;
    // What is taken away may be anything: an earlier rule may have let it in.
    let added = deltas.iter().enumerate().filter(|(_, d)| d.action == DeltaAction::Add);
    let added = added.map(|(position, delta)| (position, &delta.binding));
    let at = |position| format!("access_binding_deltas[{position}].access_binding");
    check(application, resource, added, at)?;
    let now = application.now;
    let mut set = tables::bindings(application.state, resource)?.living(now);
    let effective = set.apply(deltas);
    check_owners(application.state, envelope, resource, &effective)?;
    store(application, resource, &set)?;
    Ok(Effect {
        description: "Update access bindings".to_owned(),
        resource: shown_with(&path, resource),
        metadata: OperationMetadata::UpdateAccessBindings { resource: resource.clone() },
        result: answer(resource, effective),
    })
}

/// Whose readers may read of the change: of a version its secret's, in whose operations it is.
fn shown_with(path: &ResourcePath, resource: &ResourceRef) -> ResourceRef {
    let secret = path.id_of(ResourceKind::Secret);
    match secret.filter(|_| resource.kind == ResourceKind::SecretVersion) {
        Some(secret) => ResourceRef::new(ResourceKind::Secret, secret),
        None => resource.clone(),
    }
}

/// Of a destroyed version there is nothing to allow. Its bindings went with it.
fn require_alive(state: &dyn StateRead, resource: &ResourceRef) -> Result<(), Refusal> {
    if resource.kind != ResourceKind::SecretVersion {
        return Ok(());
    }
    let Ok(id) = VersionId::parse(&resource.id) else { return Ok(()) };
    match tables::any_version(state, &id)?.map(|version| version.status) {
        Some(VersionStatus::Destroyed) => Err(Precondition::VersionDestroyed(id).into()),
        Some(VersionStatus::Active | VersionStatus::ScheduledForDestruction) | None => Ok(()),
    }
}

/// Lockbox answers `Empty`, the other services the effective deltas (`contract §1.14` no. 12), and
/// so do versions, which the contract does not know.
fn answer(resource: &ResourceRef, effective: Vec<BindingDelta>) -> OperationResult {
    match resource.kind {
        ResourceKind::Secret | ResourceKind::KmsKey => OperationResult::Empty,
        ResourceKind::Organization
        | ResourceKind::Cloud
        | ResourceKind::Folder
        | ResourceKind::SecretVersion
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

/// Demands the right to grant on the resource: only an administrative role has it; and where it is
/// a secret or one of its versions, that its current version is the expected one. Gives its path.
fn require_admin(
    application: &Application<'_, '_>,
    envelope: &Envelope,
    resource: &ResourceRef,
) -> Result<ResourcePath, Refusal> {
    let path = bound_path(application.state, resource)?;
    let view = application.view();
    access::require_grantor(&view, &envelope.subject, envelope.token.as_ref(), &path)?;
    let secret = path.id_of(ResourceKind::Secret).and_then(|id| SecretId::parse(id).ok());
    if let Some(id) = secret
        && let Some(secret) = tables::secret(&view, &id)?
    {
        expect_current(envelope.if_version.as_ref(), &secret)?;
    }
    Ok(path)
}

/// Refuses roles that are unknown or do not fit, unknown subjects (`contract §2.12`) and conditions
/// that make no sense. Ownership is never everybody's (`contract §4.6`). The bindings come with
/// their positions in the request, and `at` says where that is.
fn check<'b>(
    application: &Application<'_, '_>,
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
        if let Some((field, description)) = wrong_condition(binding, role, application.now) {
            return Err(invalid(field, description));
        }
        let subject = &binding.subject;
        if subject.kind == SubjectKind::System {
            if !is_known_set(application.state, &subject.id)? {
                return Err(invalid("subject.id", "is not a known system subject"));
            }
            if role == Role::CloudsOwner {
                return Err(invalid("subject.type", "cannot own a cloud"));
            }
        }
    }
    Ok(())
}

/// What is wrong with a binding's conditions, and where: an end that lies behind, or one that does
/// not fit the role. Only payloads have versions, and a cloud must not be without an owner one day.
fn wrong_condition(
    binding: &AccessBinding,
    role: Role,
    now: LogTime,
) -> Option<(&'static str, &'static str)> {
    if binding.has_ended(now) {
        return Some(("conditions.not_after", "is in the past"));
    }
    if binding.only_current_version() && role != Role::LockboxPayloadViewer {
        let description = "is for the role lockbox.payloadViewer alone";
        return Some(("conditions.only_current_version", description));
    }
    if role == Role::CloudsOwner && !binding.is_unconditional() {
        return Some(("conditions", "do not fit this role: ownership has no end"));
    }
    None
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

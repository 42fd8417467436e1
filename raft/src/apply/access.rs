//! Who may: the checks that views and `apply` share, so that both give the same answer.

use lockbox_core::{
    AccessQuery, Decision, LogTime, Permission, ResourceKind, ResourcePath, ResourceRef, Role,
    SecretId, ServiceAccountId, Subject, SubjectKind, VersionId, access, is_allowed,
};

use super::paths::path_of;
use super::{Refusal, version};
use crate::domain::binding::{AccessBinding, BindingSet};
use crate::domain::command::TokenRef;
use crate::domain::identity::{ServiceAccountRecord, ServiceAccountStatus};
use crate::domain::outcome::Rejection;
use crate::error::StorageError;
use crate::state::holdings::holdings;
use crate::state::{StateRead, TimedView, tables};

/// Containers that an account may hold roles on for others to manage its keys; more are not
/// compared.
const HOLDINGS_COMPARED_MAX: usize = 1_000;

/// Checks as [`authenticate`] does, and says who it is: the caller's account, when it has one.
///
/// # Errors
/// [`Rejection::Unauthenticated`], or a storage error.
pub fn identify(
    view: &dyn StateRead,
    subject: &Subject,
    token: Option<&TokenRef>,
    now: LogTime,
) -> Result<Option<ServiceAccountRecord>, Refusal> {
    let Some(token) = token else {
        let internal = *subject == Subject::internal();
        return if internal { Ok(None) } else { Err(Rejection::Unauthenticated.into()) };
    };
    if token.expires_at <= now || tables::token_revoked(view, &token.token_id)? {
        return Err(Rejection::Unauthenticated.into());
    }
    let holder = match &token.maker {
        None => subject,
        Some(maker) => {
            if tables::token_revoked(view, &maker.token_id)? {
                return Err(Rejection::Unauthenticated.into());
            }
            active_account(view, &maker.subject, now)?;
            &maker.subject
        }
    };
    if let Some(credential) = &token.credential_id {
        let key = tables::authorized_key(view, credential)?;
        let owned = key.is_some_and(|key| key.service_account_id.as_str() == holder.id);
        if !owned {
            return Err(Rejection::Unauthenticated.into());
        }
    }
    match subject.kind {
        SubjectKind::ServiceAccount => active_account(view, subject, now).map(Some),
        SubjectKind::UserAccount
        | SubjectKind::FederatedUser
        | SubjectKind::Group
        | SubjectKind::System => Ok(None),
    }
}

/// Checks that the caller's token is alive at `now` in this view: not expired, not revoked, its
/// credential not deleted and its account active (`design §7`).
///
/// A call without a token is the system's own; only nodes make those (`design §5`: peers are
/// trusted for the subject).
///
/// # Errors
/// [`Rejection::Unauthenticated`], or a storage error.
pub fn authenticate(
    view: &dyn StateRead,
    subject: &Subject,
    token: Option<&TokenRef>,
    now: LogTime,
) -> Result<(), Refusal> {
    identify(view, subject, token, now).map(drop)
}

fn active_account(
    view: &dyn StateRead,
    subject: &Subject,
    now: LogTime,
) -> Result<ServiceAccountRecord, Refusal> {
    let refused = || Refusal::from(Rejection::Unauthenticated);
    let id = ServiceAccountId::parse(&subject.id).map_err(|_| refused())?;
    let account = tables::service_account(view, &id)?.ok_or_else(refused)?;
    let alive = account.expires_at.is_none_or(|end| now < end);
    match account.status {
        ServiceAccountStatus::Active if alive => Ok(account),
        ServiceAccountStatus::Active | ServiceAccountStatus::Suspended => Err(refused()),
    }
}

/// Evaluates one permission on a path in this view.
///
/// # Errors
/// [`StorageError`] when the bindings cannot be read.
pub fn authorize(
    view: &TimedView<'_>,
    subject: &Subject,
    permission: Permission,
    path: &ResourcePath,
) -> Result<Decision, StorageError> {
    if *subject == Subject::internal() {
        return Ok(Decision::Denied);
    }
    is_allowed(AccessQuery { subject, permission, path }, |resource| {
        let set = tables::bindings(view, resource)?;
        let bound = judged(view, &set, path)?.filter(|(_, unmet)| unmet.is_none());
        Ok(bound.map(|(b, _)| (b.role_id.clone(), b.subject.clone())).collect())
    })
}

/// Why a binding does not count, whatever its role gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet {
    /// It has ended.
    Ended,
    /// It is for the current version, and the question is not about that.
    NotCurrent,
}

/// A binding of a subject on the way to what a question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Where it is bound.
    pub on: ResourceRef,
    /// The binding.
    pub binding: AccessBinding,
    /// What keeps it from counting, if anything does.
    pub unmet: Option<Unmet>,
}

/// Every binding of a subject along a path, outermost first, also those that do not count.
///
/// # Errors
/// [`StorageError`] when the bindings cannot be read.
pub fn held_along(
    view: &TimedView<'_>,
    subject: &Subject,
    path: &ResourcePath,
) -> Result<Vec<Held>, StorageError> {
    let mut along = Vec::new();
    for resource in path.resources() {
        let set = tables::bindings(view, resource)?;
        let own = judged(view, &set, path)?;
        let own = own.filter(|(binding, _)| access::covers(&binding.subject, subject));
        along.extend(own.map(|(binding, unmet)| Held {
            on: resource.clone(),
            binding: binding.clone(),
            unmet,
        }));
    }
    Ok(along)
}

/// The bindings of one resource of a path, each with what keeps it from counting.
fn judged<'s>(
    view: &TimedView<'_>,
    set: &'s BindingSet,
    path: &ResourcePath,
) -> Result<impl Iterator<Item = (&'s AccessBinding, Option<Unmet>)> + use<'s>, StorageError> {
    // Looked up only where a binding asks: most have no conditions.
    let asked = set.bindings().iter().any(AccessBinding::only_current_version);
    let current = asked && ends_with_current(view, path)?;
    let now = view.now();
    Ok(set.bindings().iter().map(move |binding| {
        let unmet = if binding.has_ended(now) {
            Some(Unmet::Ended)
        } else if binding.only_current_version() && !current {
            Some(Unmet::NotCurrent)
        } else {
            None
        };
        (binding, unmet)
    }))
}

/// Whether a path ends with a version that is its secret's current one in this view.
fn ends_with_current(view: &dyn StateRead, path: &ResourcePath) -> Result<bool, StorageError> {
    let version = path.id_of(ResourceKind::SecretVersion);
    let (Some(version), Some(secret)) = (version, path.id_of(ResourceKind::Secret)) else {
        return Ok(false);
    };
    let Ok(secret) = SecretId::parse(secret) else { return Ok(false) };
    let current = tables::secret(view, &secret)?.and_then(|secret| secret.current_version);
    Ok(current.is_some_and(|current| current.as_str() == version))
}

/// Demands one permission on a path in this view.
///
/// # Errors
/// [`Rejection::PermissionDenied`], or a storage error.
pub fn require(
    view: &TimedView<'_>,
    subject: &Subject,
    permission: Permission,
    path: &ResourcePath,
) -> Result<(), Refusal> {
    if authorize(view, subject, permission, path)?.allowed() {
        Ok(())
    } else {
        Err(Rejection::PermissionDenied.into())
    }
}

/// Demands the right to read one payload of the secret that `path` ends with: what is bound on the
/// secret and above counts, and what is bound on the version that is read.
///
/// Without a version there is nothing but the secret to judge by. The caller has made sure that the
/// version is one of that secret.
///
/// # Errors
/// [`Rejection::PermissionDenied`], or a storage error.
pub fn require_payload(
    view: &TimedView<'_>,
    subject: &Subject,
    path: &ResourcePath,
    version: Option<&VersionId>,
) -> Result<(), Refusal> {
    // Most readers may read every version: of those no more is looked up.
    let of_all = require(view, subject, Permission::PayloadGet, path);
    match (of_all, version) {
        (Err(Refusal::Rejected(_)), Some(id)) => {
            let path = path.clone().with_leaf(version::resource(id));
            require(view, subject, Permission::PayloadGet, &path)
        }
        (of_all, _) => of_all,
    }
}

/// Demands the right to make or delete keys of an account, which `path` ends with.
///
/// The account itself has it. Anybody else needs the permission, and every right that the account
/// holds on an organization, cloud or folder: with its keys goes the power to be the account, or to
/// lock it out. So an editor touches nobody who reads payloads, and an administrator of a folder
/// not the cloud's owner who lives in it. All of it without an end: keys outlive a right that ends.
///
/// # Errors
/// [`Rejection::PermissionDenied`], or a storage error.
pub fn require_over_keys(
    view: &TimedView<'_>,
    subject: &Subject,
    permission: Permission,
    account: &ServiceAccountId,
    path: &ResourcePath,
) -> Result<(), Refusal> {
    let account = Subject::service_account(account);
    if *subject == account {
        return Ok(());
    }
    require(&view.lasting(), subject, permission, path)?;
    if may_all_of(view, subject, &account)? {
        Ok(())
    } else {
        Err(Rejection::PermissionDenied.into())
    }
}

/// Whether a subject has, without conditions, every right that an account holds on an organization,
/// cloud or folder, with conditions or without.
///
/// # Errors
/// [`StorageError`] when the bindings cannot be read.
pub fn may_all_of(
    view: &TimedView<'_>,
    subject: &Subject,
    account: &Subject,
) -> Result<bool, StorageError> {
    let held = holdings(view, account, HOLDINGS_COMPARED_MAX + 1)?;
    if held.len() > HOLDINGS_COMPARED_MAX {
        return Ok(false);
    }
    for holding in held {
        let Some(container) = path_of(view, &holding.on)? else { continue };
        let own = held_along(view, subject, &container)?;
        let own = own.iter().map(|held| &held.binding).filter(|b| b.is_unconditional());
        let own: Vec<_> = own.filter_map(|b| Role::parse(&b.role_id)).collect();
        let bound = holding.bindings.iter().filter(|binding| !binding.has_ended(view.now()));
        if !bound.filter_map(|b| Role::parse(&b.role_id)).all(|role| covered(role, &own)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Demands that no other account had the token made. Such a token must leave nothing behind that
/// outlives it: no key, no further token, no account that is changed.
///
/// # Errors
/// [`Rejection::PermissionDenied`].
pub fn require_own_token(token: Option<&TokenRef>) -> Result<(), Refusal> {
    match token.and_then(|token| token.maker.as_ref()) {
        Some(_) => Err(Rejection::PermissionDenied.into()),
        None => Ok(()),
    }
}

/// Demands the right to change the bindings of the resource that `path` ends with: only an
/// administrative role has it (`contract §4.2`), and neither a token that was made for another
/// account nor a role that ends, for a binding outlives them.
///
/// Who may speak for a service account is said by who may do all that it may, as with its keys.
///
/// # Errors
/// [`Rejection::PermissionDenied`], or a storage error.
pub fn require_grantor(
    view: &TimedView<'_>,
    subject: &Subject,
    token: Option<&TokenRef>,
    path: &ResourcePath,
) -> Result<(), Refusal> {
    require_own_token(token)?;
    let denied = || Refusal::from(Rejection::PermissionDenied);
    let bound = path.resources().last().ok_or_else(denied)?;
    let lasting = view.lasting();
    match bound.kind {
        // Of a version decides who decides of its secret.
        ResourceKind::Secret | ResourceKind::SecretVersion => {
            require(&lasting, subject, Permission::SecretsSetAccessBindings, path)
        }
        ResourceKind::Cloud | ResourceKind::Folder => {
            require(&lasting, subject, Permission::ResourceManagerAdminister, path)
        }
        ResourceKind::ServiceAccount => {
            let account = ServiceAccountId::parse(&bound.id).map_err(|_| denied())?;
            let permission = Permission::ResourceManagerAdminister;
            // The account itself is over its keys; that is no right to grant.
            require(&lasting, subject, permission, path)?;
            require_over_keys(view, subject, permission, &account, path)
        }
        ResourceKind::Organization | ResourceKind::KmsKey => Err(denied()),
    }
}

/// Demands the right to make a key of an account. The account itself has it. Anybody else takes
/// what a token takes and what managing the account takes: a key outlives the right to make tokens.
///
/// # Errors
/// [`Rejection::PermissionDenied`], or a storage error.
pub fn require_key_maker(
    view: &TimedView<'_>,
    subject: &Subject,
    account: &ServiceAccountId,
    path: &ResourcePath,
) -> Result<(), Refusal> {
    for permission in
        [Permission::ServiceAccountsAdminister, Permission::ServiceAccountsCreateToken]
    {
        require_over_keys(view, subject, permission, account, path)?;
    }
    Ok(())
}

/// Whether these roles give all that another does. Ownership is more than its permissions: it
/// alone may be passed on by its holder (`contract §4.2`).
fn covered(role: Role, by: &[Role]) -> bool {
    let owner = role == Role::CloudsOwner;
    (!owner || by.contains(&role))
        && role.permissions().all(|permission| by.iter().any(|own| own.grants(permission)))
}

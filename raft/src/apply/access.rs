//! Who may: the checks that views and `apply` share, so that both give the same answer.

use lockbox_core::{
    AccessQuery, Decision, LogTime, Permission, ResourceKind, ResourcePath, ResourceRef, Role,
    ServiceAccountId, Subject, SubjectKind, access, is_allowed,
};

use super::Refusal;
use super::paths::path_of;
use crate::domain::binding::AccessBinding;
use crate::domain::command::TokenRef;
use crate::domain::identity::{ServiceAccountRecord, ServiceAccountStatus};
use crate::domain::outcome::Rejection;
use crate::error::StorageError;
use crate::state::holdings::holdings;
use crate::state::{StateRead, tables};

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
    view: &dyn StateRead,
    subject: &Subject,
    permission: Permission,
    path: &ResourcePath,
) -> Result<Decision, StorageError> {
    if *subject == Subject::internal() {
        return Ok(Decision::Denied);
    }
    is_allowed(AccessQuery { subject, permission, path }, |resource| {
        let set = tables::bindings(view, resource)?;
        let bound = set.bindings().iter().filter(|binding| binding.is_unconditional());
        Ok(bound.map(|b| (b.role_id.clone(), b.subject.clone())).collect())
    })
}

/// Every binding along a path that counts for a subject, outermost first, with where it is bound.
///
/// # Errors
/// [`StorageError`] when the bindings cannot be read.
pub fn bindings_along(
    view: &dyn StateRead,
    subject: &Subject,
    path: &ResourcePath,
) -> Result<Vec<(ResourceRef, AccessBinding)>, StorageError> {
    let mut along = Vec::new();
    for resource in path.resources() {
        let set = tables::bindings(view, resource)?;
        let own = set.bindings().iter().filter(|binding| {
            binding.is_unconditional() && access::covers(&binding.subject, subject)
        });
        along.extend(own.map(|binding| (resource.clone(), binding.clone())));
    }
    Ok(along)
}

/// Demands one permission on a path in this view.
///
/// # Errors
/// [`Rejection::PermissionDenied`], or a storage error.
pub fn require(
    view: &dyn StateRead,
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

/// Demands the right to make or delete keys of an account, which `path` ends with.
///
/// The account itself has it. Anybody else needs the permission, and every right that the account
/// holds on an organization, cloud or folder: with its keys goes the power to be the account, or to
/// lock it out. So an editor touches nobody who reads payloads, and an administrator of a folder
/// not the cloud's owner who lives in it.
///
/// # Errors
/// [`Rejection::PermissionDenied`], or a storage error.
pub fn require_over_keys(
    view: &dyn StateRead,
    subject: &Subject,
    permission: Permission,
    account: &ServiceAccountId,
    path: &ResourcePath,
) -> Result<(), Refusal> {
    let account = Subject::service_account(account);
    if *subject == account {
        return Ok(());
    }
    require(view, subject, permission, path)?;
    if may_all_of(view, subject, &account)? {
        Ok(())
    } else {
        Err(Rejection::PermissionDenied.into())
    }
}

/// Whether a subject has every right that an account holds on an organization, cloud or folder.
///
/// # Errors
/// [`StorageError`] when the bindings cannot be read.
pub fn may_all_of(
    view: &dyn StateRead,
    subject: &Subject,
    account: &Subject,
) -> Result<bool, StorageError> {
    let held = holdings(view, account, HOLDINGS_COMPARED_MAX + 1)?;
    if held.len() > HOLDINGS_COMPARED_MAX {
        return Ok(false);
    }
    for holding in held {
        let Some(container) = path_of(view, &holding.on)? else { continue };
        let own = bindings_along(view, subject, &container)?;
        let own: Vec<_> = own.iter().filter_map(|(_, b)| Role::parse(&b.role_id)).collect();
        let bound = holding.bindings.iter().filter(|binding| binding.is_unconditional());
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
/// administrative role has it (`contract §4.2`), and no token that was made for another account,
/// for a binding outlives it.
///
/// Who may speak for a service account is said by who may do all that it may, as with its keys.
///
/// # Errors
/// [`Rejection::PermissionDenied`], or a storage error.
pub fn require_grantor(
    view: &dyn StateRead,
    subject: &Subject,
    token: Option<&TokenRef>,
    path: &ResourcePath,
) -> Result<(), Refusal> {
    require_own_token(token)?;
    let denied = || Refusal::from(Rejection::PermissionDenied);
    let bound = path.resources().last().ok_or_else(denied)?;
    match bound.kind {
        ResourceKind::Secret => require(view, subject, Permission::SecretsSetAccessBindings, path),
        ResourceKind::Cloud | ResourceKind::Folder => {
            require(view, subject, Permission::ResourceManagerAdminister, path)
        }
        ResourceKind::ServiceAccount => {
            let account = ServiceAccountId::parse(&bound.id).map_err(|_| denied())?;
            let permission = Permission::ResourceManagerAdminister;
            // The account itself is over its keys; that is no right to grant.
            require(view, subject, permission, path)?;
            require_over_keys(view, subject, permission, &account, path)
        }
        ResourceKind::Organization | ResourceKind::KmsKey | ResourceKind::SecretVersion => {
            Err(denied())
        }
    }
}

/// Demands the right to make a key of an account. The account itself has it. Anybody else takes
/// what a token takes and what managing the account takes: a key outlives the right to make tokens.
///
/// # Errors
/// [`Rejection::PermissionDenied`], or a storage error.
pub fn require_key_maker(
    view: &dyn StateRead,
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

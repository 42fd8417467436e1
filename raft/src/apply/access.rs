//! Who may: the checks that views and `apply` share, so that both give the same answer.

use lockbox_core::{
    AccessQuery, Decision, LogTime, Permission, ResourcePath, ServiceAccountId, Subject,
    SubjectKind, is_allowed,
};

use super::Refusal;
use crate::domain::command::TokenRef;
use crate::domain::identity::{ServiceAccountRecord, ServiceAccountStatus};
use crate::domain::outcome::Rejection;
use crate::error::StorageError;
use crate::state::{StateRead, tables};

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
    if let Some(credential) = &token.credential_id {
        let key = tables::authorized_key(view, credential)?;
        let owned = key.is_some_and(|key| key.service_account_id.as_str() == subject.id);
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

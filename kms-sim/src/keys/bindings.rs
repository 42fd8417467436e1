//! What callers do with the bindings of a key: list, replace, change (`contract §2.12`).

use lockbox_core::{
    KmsKeyId, OrganizationId, Permission, ResourceKind, Role, SubjectKind, SystemSubject,
};
use sha2::{Digest, Sha256};

use super::apply::read_bindings;
use super::command::{BindingDelta, BindingsChange, Command, IdempotencyClaim};
use super::mutate::{self, Done, Target};
use super::page::{self, BindingPosition, PageRequest};
use super::service::{Answer, Page};
use crate::caller::Caller;
use crate::engine::Engine;
use crate::error::{KmsError, Rejection};
use crate::store::records::{KeyBinding, KeyRecord};

/// The bindings that are set on a key itself.
///
/// # Errors
/// [`KmsError`].
pub fn list(
    engine: &Engine,
    caller: &Caller,
    key_id: &KmsKeyId,
    page: &PageRequest,
    observed: &mut Option<KeyRecord>,
) -> Result<Answer<Page<KeyBinding>>, KmsError> {
    let reading = engine.reading()?;
    let permission = Permission::KmsKeysListAccessBindings;
    let key = reading.permitted_key(caller, permission, key_id, observed)?;
    let after = match page.position::<BindingPosition>()? {
        Some(position) if position.key_id != key.id => return Err(page::bad_token()),
        position => position.map(|position| position.place),
    };
    let set = read_bindings(&reading.view, &key.id)?.bindings;
    // By a hash: a binding is longer than a page token may be, and a position would move when
    // others come and go between two pages.
    let mut placed: Vec<_> = set.into_iter().map(|binding| (place(&binding), binding)).collect();
    placed.retain(|(place, _)| after.is_none_or(|after| *place > after));
    placed.sort_unstable_by_key(|(place, _)| *place);
    let more = placed.len() > page.size;
    placed.truncate(page.size);
    let last = placed.last().filter(|_| more);
    let position = last.map(|(place, _)| BindingPosition { key_id: key.id, place: *place });
    let next_token = position.map(|position| page::token(&position)).unwrap_or_default();
    let rows = placed.into_iter().map(|(_, binding)| binding).collect();
    Ok(Answer { value: Page { rows, next_token }, index: reading.index })
}

fn place(binding: &KeyBinding) -> u64 {
    let mut hash = Sha256::new();
    let subject = &binding.subject;
    for part in [&*binding.role_id, subject.kind.as_str(), &*subject.id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    digest[..8].iter().fold(0, |place, byte| place << 8 | u64::from(*byte))
}

/// Changes the bindings of a key. A token that was made for another account changes none: they
/// would outlive it.
///
/// # Errors
/// [`KmsError`].
pub async fn change(
    engine: &Engine,
    caller: &Caller,
    key_id: &KmsKeyId,
    change: &BindingsChange,
    idempotency: Option<IdempotencyClaim>,
    observed: &mut Option<KeyRecord>,
) -> Result<Done, KmsError> {
    if caller.borrowed {
        let reading = engine.reading()?;
        reading.key(key_id, observed)?;
        return Err(reading.reject(Rejection::Denied));
    }
    let target = Target::key(key_id, &[Permission::KmsKeysSetAccessBindings]);
    let command = |key: &KeyRecord| -> Result<Command, KmsError> {
        check(change, key.path.organization_id.as_ref())?;
        Ok(Command::ChangeBindings(key_id.clone(), change.clone()))
    };
    mutate::change(engine, caller, target, idempotency, observed, command).await
}

/// Refuses roles that are unknown or give nothing on a key, and unknown system subjects. What is
/// taken away may be anything: an earlier rule may have let it in.
fn check(change: &BindingsChange, organization: Option<&OrganizationId>) -> Result<(), KmsError> {
    match change {
        BindingsChange::Set(set) => {
            set.iter().try_for_each(|binding| check_binding(binding, organization))
        }
        BindingsChange::Update(deltas) => deltas.iter().try_for_each(|delta| match delta {
            BindingDelta::Add(binding) => check_binding(binding, organization),
            BindingDelta::Remove(_) => Ok(()),
        }),
    }
}

fn check_binding(
    binding: &KeyBinding,
    organization: Option<&OrganizationId>,
) -> Result<(), KmsError> {
    let Some(role) = Role::parse(&binding.role_id) else {
        return Err(KmsError::invalid("role_id", "is not a known role"));
    };
    if !role.fits(ResourceKind::KmsKey) {
        let problem = "gives nothing on a resource of this kind";
        return Err(KmsError::invalid("role_id", problem));
    }
    if binding.subject.kind != SubjectKind::System {
        return Ok(());
    }
    let known = match SystemSubject::parse(&binding.subject.id) {
        None => false,
        Some(SystemSubject::AllUsers | SystemSubject::AllAuthenticatedUsers) => true,
        // There is one organization, and only that one means somebody here.
        Some(SystemSubject::OrganizationUsers(id)) => {
            organization.is_some_and(|own| own.as_str() == id)
        }
    };
    if known {
        Ok(())
    } else {
        Err(KmsError::invalid("subject.id", "is not a known system subject"))
    }
}

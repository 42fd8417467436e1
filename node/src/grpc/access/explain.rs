//! Why somebody may or may not do something (`contract §4`, `docs/access.md`).
//!
//! Everything is looked at in one view, so the answer is true at one index.

use lockbox_core::{
    LogTime, Permission, ResourceKind, ResourcePath, ResourceRef, Role, SecretId, ServiceAccountId,
    Subject, SubjectKind,
};
use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::iam::v1 as wire;
use lockbox_proto::yandex::cloud::access;
use lockbox_raft::apply::{
    Held, Unmet, account_path, authorize, find_resource, held_along, may_all_of,
};
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::identity::ServiceAccountStatus;
use lockbox_raft::error::StorageError;
use lockbox_raft::state::{StateRead, TimedView, tables};
use tonic::Code;

use crate::authn::Caller;
use crate::bindings;
use crate::call::Call;
use crate::grpc::access_bindings::seen_by;
use crate::refused::{Refused, within};

pub(super) async fn explain(
    call: &mut Call<'_>,
    request: &wire::ExplainRequest,
) -> Result<wire::ExplainResponse, ApiError> {
    let caller = call.admit(request)?;
    let permission = Permission::parse(&request.permission).ok_or_else(|| {
        let known: Vec<_> = Permission::ALL.iter().map(|known| known.as_str()).collect();
        ApiError::invalid("permission", format!("is none of {}", known.join(", ")))
    })?;
    let subject = match &request.subject {
        None => caller.subject.clone(),
        Some(named) => {
            let kind = SubjectKind::parse(&named.r#type).ok_or_else(|| {
                ApiError::invalid("subject.type", "is not a known type of subject")
            })?;
            Subject { kind, id: named.id.clone() }
        }
    };
    let asked = Asked { caller: &caller, subject: &subject, permission };
    let read = call.read(&caller, |view| asked.answer(view, &request.resource_id)).await;
    let (mut response, path) = read.map_err(|error| asked.not_here(&error))?;
    response.index = call.observed().map_or(0, |at| at.index);
    call.path = Some(path);
    Ok(response)
}

/// One question.
struct Asked<'a> {
    caller: &'a Caller,
    subject: &'a Subject,
    permission: Permission,
}

impl Asked<'_> {
    /// The answer of one view, without its index.
    fn answer(
        &self,
        view: &TimedView<'_>,
        resource_id: &str,
    ) -> Result<(wire::ExplainResponse, ResourcePath), Refused> {
        let path = find_resource(view, resource_id)?
            .ok_or_else(|| Rejection::not_found(ResourceKind::Secret, resource_id))?;
        within(path, |path| {
            let (oneself, sees) = (*self.subject == self.caller.subject, self.sees(view, path)?);
            if !oneself && !sees {
                return Err(Rejection::PermissionDenied.into());
            }
            let judged = self.judged_path(view, path)?;
            let held = held_along(view, self.subject, &judged)?;
            let (may, remarks) = self.judge(view, path, &held)?;
            let problem = problem(view, self.subject, view.now())?;
            let (mut shown_held, mut some_hidden) = (Vec::new(), false);
            for held in &held {
                // What one holds oneself is no secret from oneself.
                if oneself || self.sees(view, &path_to(&judged, &held.on))? {
                    shown_held.push(self.shown(held));
                } else {
                    some_hidden = true;
                }
            }
            let knows_subject = oneself || self.sees_subject(view)?;
            // The current version is on the way only where something is bound on it.
            let on_version = held.iter().any(|held| held.on.kind == ResourceKind::SecretVersion);
            let way = if on_version { &judged } else { path };
            let shown_path = if sees { way.resources() } else { &[] };
            Ok(wire::ExplainResponse {
                allowed: may && problem.is_empty(),
                index: 0,
                subject: Some(access::Subject {
                    id: self.subject.id.clone(),
                    r#type: self.subject.kind.as_str().to_owned(),
                }),
                permission: self.permission.as_str().to_owned(),
                path: shown_path.iter().map(resource).collect(),
                held: shown_held,
                subject_problem: if knows_subject { problem.to_owned() } else { String::new() },
                kms_key_id: if sees { own_key(view, path)? } else { String::new() },
                some_hidden,
                remarks: remarks.into_iter().map(str::to_owned).collect(),
            })
        })
    }

    /// Why there is no answer. A key is nothing that this service knows: who asks about one is told
    /// who does.
    fn not_here(&self, error: &ApiError) -> ApiError {
        if error.code() != Code::NotFound || !self.permission.is_of_keys() {
            return error.clone();
        }
        let message = format!("{}; {KEYS_OWN}: ask here about its folder", error.message());
        ApiError::new(error.kind().clone(), message, error.outcome())
    }

    /// The path that is judged. Who asks for a payload without naming a version gets the current
    /// one, so a question about the payload of a secret is about that one.
    fn judged_path(
        &self,
        view: &dyn StateRead,
        path: &ResourcePath,
    ) -> Result<ResourcePath, StorageError> {
        let leaf = path.resources().last();
        let secret = leaf.filter(|leaf| leaf.kind == ResourceKind::Secret);
        let (Some(secret), Permission::PayloadGet) = (secret, self.permission) else {
            return Ok(path.clone());
        };
        let Ok(id) = SecretId::parse(&secret.id) else { return Ok(path.clone()) };
        let current = tables::secret(view, &id)?.and_then(|secret| secret.current_version);
        Ok(match current {
            Some(id) => {
                let version = ResourceRef::new(ResourceKind::SecretVersion, id.as_str());
                path.clone().with_leaf(version)
            }
            None => path.clone(),
        })
    }

    /// Whether a binding counts, and its role gives the permission.
    fn gives(&self, held: &Held) -> bool {
        let role = Role::parse(&held.binding.role_id);
        held.unmet.is_none() && role.is_some_and(|role| role.grants(self.permission))
    }

    /// Whether the subject may, by its roles and by the rules beside them, which `apply` and the
    /// services demand with `require_over_keys`, `require_key_maker`, `require_grantor` and
    /// `require_own_token`.
    fn judge(
        &self,
        view: &TimedView<'_>,
        path: &ResourcePath,
        held: &[Held],
    ) -> Result<(bool, Vec<&'static str>), StorageError> {
        let mut may = held.iter().any(|held| self.gives(held));
        let mut remarks = Vec::new();
        let one_version = |held: &Held| {
            held.on.kind == ResourceKind::SecretVersion || held.binding.only_current_version()
        };
        if may && !held.iter().any(|held| self.gives(held) && !one_version(held)) {
            remarks.push(ONE_VERSION);
        }
        let lasts = |held: &Held| self.gives(held) && held.binding.not_after.is_none();
        let ends = may && !held.iter().any(lasts);
        let leaf = path.resources().last();
        let account = leaf.filter(|leaf| leaf.kind == ResourceKind::ServiceAccount);
        if let Some(account) = account.and_then(|leaf| ServiceAccountId::parse(&leaf.id).ok()) {
            let account = Subject::service_account(&account);
            let itself = account == *self.subject;
            let grants = self.permission == Permission::ResourceManagerAdminister;
            let power = gives_power(self.permission) && (!itself || grants);
            if ends && power {
                may = false;
                remarks.push(ENDS);
            } else if !itself {
                if may && power && !may_all_of(view, self.subject, &account)? {
                    may = false;
                    remarks.push(NOT_OVER);
                }
            } else if self.permission == Permission::ServiceAccountsCreateToken {
                may = true;
                remarks.push(ITSELF);
            } else if !grants {
                remarks.push(ITS_KEYS);
            }
        }
        if ends && account.is_none() && (outlives(self.permission) || is_lost(self.permission)) {
            may &= !is_lost(self.permission);
            remarks.push(ENDS);
        }
        let owner = |held: &Held| Role::parse(&held.binding.role_id) == Some(Role::CloudsOwner);
        let on_cloud = leaf.is_some_and(|on| on.kind == ResourceKind::Cloud);
        let administers = self.permission == Permission::ResourceManagerAdminister;
        if may && administers && on_cloud && !held.iter().any(owner) {
            remarks.push(NO_OWNER);
        }
        let oneself = *self.subject == self.caller.subject;
        if may && oneself && self.caller.token.maker.is_some() && outlives(self.permission) {
            remarks.push(BORROWED);
        }
        if self.permission.is_of_keys() {
            remarks.push(KEYS_OWN);
        }
        Ok((may, remarks))
    }

    /// Whether the caller may see the resource that a path ends with, and its bindings.
    fn sees(&self, view: &TimedView<'_>, path: &ResourcePath) -> Result<bool, StorageError> {
        let permission = path.resources().last().and_then(|last| seen_by(last.kind));
        let Some(permission) = permission else { return Ok(false) };
        Ok(authorize(view, &self.caller.subject, permission, path)?.allowed())
    }

    /// Whether the caller may see the account that the question is about; of one that is not there
    /// there is nothing to see.
    fn sees_subject(&self, view: &TimedView<'_>) -> Result<bool, StorageError> {
        let Ok(id) = ServiceAccountId::parse(&self.subject.id) else { return Ok(true) };
        let Some(account) = tables::service_account(view, &id)? else { return Ok(true) };
        self.sees(view, &account_path(view, &account)?)
    }

    fn shown(&self, held: &Held) -> wire::HeldBinding {
        wire::HeldBinding {
            resource: Some(resource(&held.on)),
            access_binding: Some(bindings::to_wire(&held.binding)),
            grants: self.gives(held),
            unmet: held.unmet.map(unmet).unwrap_or_default().to_owned(),
        }
    }
}

/// Why a binding does not count, in words.
const fn unmet(unmet: Unmet) -> &'static str {
    match unmet {
        Unmet::Ended => "has ended",
        Unmet::NotCurrent => "is for the current version alone",
    }
}

const ITSELF: &str = "an account makes its own tokens without a role";
const ITS_KEYS: &str = "an account reads, makes and changes its own keys without a role";
const NOT_OVER: &str =
    "the account may do more than the subject does: only who may do all of it has power over it";
const ONE_VERSION: &str = "it is given for one version: that one, or the current one, which a \
                           read gets that names none";
const ENDS: &str = "what gives it has an end: it grants nothing, has no power over accounts or \
                    over the end of keys, and makes no clouds";
const KEYS_OWN: &str = "a key may have bindings of its own, which the KMS keeps: lockbox kms \
                        symmetric-key list-access-bindings shows them";
const NO_OWNER: &str = "ownership of the cloud is given and ended by its owners alone";
const BORROWED: &str = "the token was made by another account: it grants nothing, changes no \
                        account, and makes no keys, tokens or clouds";

/// Whether the permission, on an account, gives the power to be it or to lock it out.
const fn gives_power(permission: Permission) -> bool {
    matches!(
        permission,
        Permission::ServiceAccountsAdminister
            | Permission::ServiceAccountsCreateToken
            | Permission::ResourceManagerAdminister
    )
}

/// Whether something done with the permission may outlive a token.
const fn outlives(permission: Permission) -> bool {
    gives_power(permission)
        || matches!(
            permission,
            Permission::SecretsSetAccessBindings | Permission::KmsKeysSetAccessBindings
        )
}

/// Whether a role that ends does not give the permission at all: it is for granting and nothing
/// else, or the KMS is not told of it (`crate::grants::told_role`).
const fn is_lost(permission: Permission) -> bool {
    matches!(
        permission,
        Permission::SecretsSetAccessBindings
            | Permission::KmsKeysSetAccessBindings
            | Permission::KmsKeysSetStatus
            | Permission::KmsKeysAdminister
    )
}

/// The beginning of a path, up to one of its resources.
fn path_to(path: &ResourcePath, on: &ResourceRef) -> ResourcePath {
    let end = path.resources().iter().position(|resource| resource == on);
    let end = end.map_or(path.resources().len(), |position| position + 1);
    ResourcePath::new(path.resources().iter().take(end).cloned().collect())
}

/// Why a service account cannot log in. Of other subjects nothing is known here.
fn problem(
    view: &dyn StateRead,
    subject: &Subject,
    now: LogTime,
) -> Result<&'static str, StorageError> {
    if subject.kind != SubjectKind::ServiceAccount {
        return Ok("");
    }
    let Ok(id) = ServiceAccountId::parse(&subject.id) else { return Ok("is not an id") };
    let Some(account) = tables::service_account(view, &id)? else { return Ok("does not exist") };
    let expired = account.expires_at.is_some_and(|end| end <= now);
    Ok(match account.status {
        ServiceAccountStatus::Suspended => "is suspended",
        ServiceAccountStatus::Active if expired => "has expired",
        ServiceAccountStatus::Active => "",
    })
}

/// The own key of the secret that the path ends with.
fn own_key(view: &dyn StateRead, path: &ResourcePath) -> Result<String, StorageError> {
    let Some(id) = path.id_of(ResourceKind::Secret) else { return Ok(String::new()) };
    let Ok(id) = SecretId::parse(id) else { return Ok(String::new()) };
    let key = tables::secret(view, &id)?.and_then(|secret| secret.kms_key_id);
    Ok(key.map(|key| key.to_string()).unwrap_or_default())
}

fn resource(of: &ResourceRef) -> wire::Resource {
    wire::Resource { r#type: of.kind.audit_name().to_owned(), id: of.id.clone() }
}

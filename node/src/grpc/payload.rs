//! `PayloadService`: the read path (`contract §2.10`). A payload leaves only after its audit
//! record is written.

use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{
    CloudId, FolderId, Mutant, Permission, ResourceKind, ResourcePath, SecretId, VersionId, mutant,
};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::PayloadDetails;
use lockbox_platform::audit::record::{RequestParameters, ResponseSummary};
use lockbox_platform::status::{ApiError, ErrorKind, Outcome};
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_raft::apply::{Refusal, require, require_payload};
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::outcome::Precondition;
use lockbox_raft::domain::secret::{SecretRecord, SecretStatus};
use lockbox_raft::domain::version::{SealedPayload, VersionRecord, VersionStatus};
use lockbox_raft::error::StorageError;
use lockbox_raft::replica::PayloadStanding;
use lockbox_raft::state::{StateRead, TimedView, tables};
use tonic::{Request, Response, Status};
use wire::get_ex_request::Identifier;
use wire::payload_service_server::PayloadService;

use super::secret::{cloud_of, parse_secret_id};
use crate::app::App;
use crate::authn::Caller;
use crate::call::{Call, KmsOperation, detached};
use crate::describe;
use crate::grants::{Grants, KmsStep, kms_grants};
use crate::payload::{EntryValue, Payload};
use crate::refused::{Refused, within};
use crate::seal::SealPlace;
use crate::seeded;

/// When a caller may try again at a node that purges first: a purge takes seconds.
const PURGE_RETRY: Duration = Duration::from_secs(1);

/// The service over the node's parts.
#[derive(Clone)]
pub struct PayloadGrpc {
    app: Arc<App>,
}

impl PayloadGrpc {
    /// The service.
    #[must_use]
    pub const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl PayloadService for PayloadGrpc {
    async fn get(
        &self,
        request: Request<wire::GetPayloadRequest>,
    ) -> Result<Response<wire::Payload>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let message = request.get_ref();
            let details = AuditDetails::GetPayload(named(&message.secret_id, &message.version_id));
            let mut call = Call::begin(&app, &request, details)?;
            let result = get(&mut call, message).await;
            finish(call, result).await
        })
        .await
    }

    async fn get_ex(
        &self,
        request: Request<wire::GetExRequest>,
    ) -> Result<Response<wire::GetExResponse>, Status> {
        let app = Arc::clone(&self.app);
        let calls = app.calls.clone();
        detached(&calls, async move {
            let message = request.get_ref();
            let secret_id = match &message.identifier {
                Some(Identifier::SecretId(id)) => id.as_str(),
                Some(Identifier::FolderAndName(_)) | None => "",
            };
            let details = AuditDetails::GetPayloadEx(named(secret_id, &message.version_id));
            let mut call = Call::begin(&app, &request, details)?;
            let result = get_ex(&mut call, message).await;
            finish(call, result).await
        })
        .await
    }
}

/// Answers, and counts the read once its record is written: a failed one costs nothing
/// (`contract §7`).
async fn finish<T>(
    call: Call<'_>,
    result: Result<(Read, T), ApiError>,
) -> Result<Response<T>, Status> {
    let app = call.app;
    match result {
        Ok((read, answer)) => {
            let answered = call.finish(Ok(answer)).await?;
            app.payload_reads.count(read.secret);
            app.read_meter.count(read.cloud);
            Ok(answered)
        }
        Err(error) => call.finish(Err(error)).await,
    }
}

/// Of what a payload was read.
struct Read {
    secret: SecretId,
    cloud: CloudId,
}

impl Read {
    fn of(resolved: Resolved) -> Result<Self, ApiError> {
        Ok(Self { cloud: cloud_of(&resolved.path)?, secret: resolved.secret.id })
    }
}

fn named(secret_id: &str, version_id: &str) -> PayloadDetails {
    PayloadDetails {
        secret_id: describe::named_id(secret_id),
        secret_version_id: describe::named_id(version_id),
        ..PayloadDetails::default()
    }
}

/// How a request names the secret.
enum Target {
    Id(SecretId),
    Name { folder: FolderId, name: String },
}

/// What one view says about the payload that is asked for.
struct Resolved {
    secret: SecretRecord,
    version: VersionRecord,
    sealed: SealedPayload,
    path: ResourcePath,
    grants: Grants,
}

async fn get(
    call: &mut Call<'_>,
    request: &wire::GetPayloadRequest,
) -> Result<(Read, wire::Payload), ApiError> {
    let caller = call.admit(request)?;
    let target = Target::Id(parse_secret_id(&request.secret_id)?);
    let (resolved, payload) = open(call, &caller, &target, &request.version_id).await?;
    let entry = |entry: crate::payload::PayloadEntry| wire::payload::Entry {
        key: entry.key,
        value: Some(match entry.value {
            EntryValue::Text(text) => wire::payload::entry::Value::TextValue(text.expose().clone()),
            EntryValue::Binary(bytes) => {
                wire::payload::entry::Value::BinaryValue(bytes.expose().clone())
            }
        }),
    };
    let payload = wire::Payload {
        version_id: resolved.version.id.to_string(),
        entries: payload.entries.into_iter().map(entry).collect(),
    };
    Ok((Read::of(resolved)?, payload))
}

async fn get_ex(
    call: &mut Call<'_>,
    request: &wire::GetExRequest,
) -> Result<(Read, wire::GetExResponse), ApiError> {
    let caller = call.admit(request)?;
    let target = match &request.identifier {
        Some(Identifier::SecretId(id)) => Target::Id(parse_secret_id(id)?),
        Some(Identifier::FolderAndName(place)) => Target::Name {
            folder: FolderId::parse(&place.folder_id).map_err(|error| {
                ApiError::invalid("folder_and_name.folder_id", error.to_string())
            })?,
            name: place.secret_name.clone(),
        },
        None => return Err(ApiError::invalid("identifier", "exactly one is required")),
    };
    let (resolved, payload) = open(call, &caller, &target, &request.version_id).await?;
    let bytes = |entry: crate::payload::PayloadEntry| (entry.key, entry.value.as_bytes().to_vec());
    let payload = wire::GetExResponse {
        secret_id: resolved.secret.id.to_string(),
        version_id: resolved.version.id.to_string(),
        entries: payload.entries.into_iter().map(bytes).collect(),
    };
    Ok((Read::of(resolved)?, payload))
}

/// Resolves, authorizes and opens; fills the audit record on the way.
async fn open(
    call: &mut Call<'_>,
    caller: &Caller,
    target: &Target,
    version_id: &str,
) -> Result<(Resolved, Payload), ApiError> {
    let wanted = match version_id {
        "" => None,
        text => Some(
            VersionId::parse(text)
                .map_err(|error| ApiError::invalid("version_id", error.to_string()))?,
        ),
    };
    call.parameters = Some(RequestParameters {
        secret_id: match target {
            Target::Id(id) => id.to_string(),
            Target::Name { .. } => String::new(),
        },
        version_id: version_id.to_owned(),
    });
    let resolved = call.read(caller, |view| resolve(view, caller, target, wanted.as_ref())).await?;
    purged_first(call.app.replica.payload_standing())?;
    call.path = Some(resolved.path.clone());
    let noted = describe::payload(&resolved.secret, &resolved.version);
    match &mut call.details {
        AuditDetails::GetPayload(details) | AuditDetails::GetPayloadEx(details) => {
            *details = noted;
        }
        _ => {}
    }
    let payload = unseal(call, caller, &resolved).await?;
    call.response = Some(ResponseSummary {
        version_id: resolved.version.id.to_string(),
        entry_keys: resolved.version.entry_keys.clone(),
    });
    Ok((resolved, payload))
}

fn resolve(
    view: &TimedView<'_>,
    caller: &Caller,
    target: &Target,
    wanted: Option<&VersionId>,
) -> Result<Resolved, Refused> {
    let id = match target {
        Target::Id(id) => id.clone(),
        Target::Name { folder, name } => by_name(view, caller, folder, name)?,
    };
    let secret = tables::secret(view, &id)?
        .ok_or_else(|| Rejection::not_found(ResourceKind::Secret, id.as_str()))?;
    let path = tables::secret_path(view, &secret)?;
    let (found, path) = within(path, |path| {
        let asked = asked_version(view, &secret, wanted)?;
        let version = match &asked {
            Some(id) => tables::version(view, &secret.id, id)?,
            None => None,
        };
        // Only a version of this secret may open it: one of another secret has nothing to say here.
        let of_it = version.as_ref().map(|version| &version.id);
        let mut allowed = require_payload(view, &caller.subject, path, of_it);
        if mutant(Mutant::BindingsCached) {
            allowed = seeded::or_allowed_lately(allowed, &caller.subject, path);
        }
        allowed?;
        let (version, sealed) = readable(view, &secret, asked, version)?;
        let grants = match &secret.kms_key_id {
            Some(_) => kms_grants(view, caller)?,
            None => Grants::default(),
        };
        Ok((version, sealed, grants))
    })?;
    let (version, sealed, grants) = found;
    Ok(Resolved { secret, version, sealed, path, grants })
}

/// The version that is asked for: the one that is named, or the current one. It need not exist.
fn asked_version(
    view: &dyn StateRead,
    secret: &SecretRecord,
    wanted: Option<&VersionId>,
) -> Result<Option<VersionId>, StorageError> {
    Ok(match (wanted, &secret.current_version) {
        (Some(wanted), _) => Some(wanted.clone()),
        (None, Some(_)) if mutant(Mutant::TwoCurrentVersions) => {
            Some(seeded::other_current(view, secret)?)
        }
        (None, current) => current.clone(),
    })
}

/// Refuses for a node that was away and still has in its files what was destroyed meanwhile
/// (`design §6`). Before the KMS is asked; the other nodes serve.
fn purged_first(standing: PayloadStanding) -> Result<(), ApiError> {
    let message = match standing {
        PayloadStanding::Serves => return Ok(()),
        PayloadStanding::PurgesFirst => {
            "this node was away and purges what was destroyed meanwhile before it serves payloads"
        }
        PayloadStanding::Unknown => "this node has just taken in another state",
    };
    let kind = ErrorKind::Unavailable { retry_after: Some(PURGE_RETRY) };
    Err(ApiError::new(kind, message, Outcome::NotProposed))
}

/// The version that is asked for, when its payload may be read at all.
fn readable(
    view: &dyn StateRead,
    secret: &SecretRecord,
    asked: Option<VersionId>,
    version: Option<VersionRecord>,
) -> Result<(VersionRecord, SealedPayload), Refusal> {
    let mut status = secret.status;
    if mutant(Mutant::DeactivateInCache) {
        status = seeded::status_seen_first(secret);
    }
    if status == SecretStatus::Inactive {
        return Err(Precondition::SecretInactive.into());
    }
    // Never NOT_FOUND: clients would believe that the secret is gone (`contract §5.2`).
    let version_id = asked.ok_or(Precondition::NoCurrentVersion)?;
    let version = version
        .ok_or_else(|| Rejection::not_found(ResourceKind::SecretVersion, version_id.as_str()))?;
    match (version.status, tables::payload(view, &secret.id, &version_id)?) {
        (VersionStatus::Active, Some(sealed)) => Ok((version, sealed)),
        _ => Err(Precondition::VersionNotActive(version_id).into()),
    }
}

fn by_name(
    view: &TimedView<'_>,
    caller: &Caller,
    folder: &FolderId,
    name: &str,
) -> Result<SecretId, Refused> {
    let path = tables::folder_path(view, folder)?
        .ok_or_else(|| Rejection::not_found(ResourceKind::Folder, folder.as_str()))?;
    match tables::secrets_named(view, folder, name)?.as_slice() {
        [] => Err(Rejection::not_found(ResourceKind::Secret, name).into()),
        [id] => Ok(id.clone()),
        [_, _, ..] => {
            // How often a name is taken is the folder's business.
            let ambiguous = within(path, |path| {
                require(view, &caller.subject, Permission::PayloadGet, path)?;
                Err(Precondition::AmbiguousName.into())
            });
            ambiguous.map(|(id, _)| id)
        }
    }
}

async fn unseal(
    call: &mut Call<'_>,
    caller: &Caller,
    resolved: &Resolved,
) -> Result<Payload, ApiError> {
    let cloud_id = cloud_of(&resolved.path)?;
    let place = SealPlace {
        cloud: &cloud_id,
        folder: &resolved.secret.folder_id,
        secret: &resolved.secret.id,
        version: &resolved.version.id,
    };
    let version_id = &resolved.version.id;
    let step = KmsStep { step: "open", version_id, scope: call.read_scope() };
    let own_key = resolved.secret.kms_key_id.as_ref();
    let assertion = own_key.map(|_| call.assertion(caller, &resolved.grants, Some(step)));
    if let (Some(key), Some(assertion)) = (own_key, &assertion) {
        call.asks_kms(KmsOperation::Decrypt, key, assertion)?;
    }
    let deadline = call.context.deadline;
    let sealer = &call.app.sealer;
    let opened = sealer.open(&place, &resolved.sealed, assertion.as_ref(), deadline).await?;
    call.kms_has_answered();
    call.kms_index = opened.kms_index;
    Ok(opened.value)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn who_purges_first_says_when_to_try_again() {
        assert!(purged_first(PayloadStanding::Serves).is_ok());
        for standing in [PayloadStanding::PurgesFirst, PayloadStanding::Unknown] {
            let error = purged_first(standing).unwrap_err();
            assert_eq!(error.code(), Code::Unavailable);
            assert_eq!(error.outcome(), Outcome::NotProposed);
            let tells = matches!(error.kind(), ErrorKind::Unavailable { retry_after: Some(_) });
            assert!(tells, "{error:?}");
        }
    }
}

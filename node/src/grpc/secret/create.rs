//! `Create` (`contract §2.5`).

use lockbox_core::{CloudId, FolderId, KmsKeyId, Permission, ResourceKind, ResourcePath};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_raft::apply::{Refusal, require};
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::command::{Command, CreateSecret, NewVersion};
use lockbox_raft::domain::operation::{OperationRecord, OperationResult};
use lockbox_raft::domain::secret::PasswordSpec;
use lockbox_raft::state::{StateRead, tables};

use super::changes;
use crate::authn::Caller;
use crate::call::{Attempt, Call};
use crate::fresh_ids::FreshIds;
use crate::grants::{Grants, KmsStep, kms_grants};
use crate::merge::first_version;
use crate::payload::{EntryValue, Payload, PayloadEntry};
use crate::seal::SealPlace;
use crate::sealer::OwnKey;
use crate::{convert, describe, errors, idempotency, password};

const ENTRIES_FIELD: &str = "version_payload_entries";

/// A checked request: what to create, and with which entries.
struct Plan {
    folder_id: FolderId,
    kms_key_id: Option<KmsKeyId>,
    spec: Option<PasswordSpec>,
    payload: Option<Payload>,
}

pub(super) async fn create(
    call: &mut Call<'_>,
    mut request: wire::CreateSecretRequest,
) -> Result<Operation, ApiError> {
    let caller = call.admit(&request)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, &request)?;
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(answer(call, &operation));
    }
    let plan = plan(call, &mut request)?;
    let (path, grants) = look_up(call, &caller, &plan).await?;
    call.path = Some(path.clone());
    let random = std::sync::Arc::clone(&call.app.random);
    let mut ids = FreshIds::new(random.as_ref(), claim.as_ref());
    loop {
        let command = seal(call, &caller, &request, &plan, &path, &grants, &ids).await?;
        match call.propose(&caller, claim.clone(), command).await {
            // The same request was executed once and is past its retention: it is a new one.
            Err(Attempt::Rejected(Rejection::AlreadyExists { .. }, _)) if ids.next_round() => {}
            outcome => return Ok(answer(call, &outcome?)),
        }
    }
}

/// The operation on the wire; its secret goes into the audit record.
fn answer(call: &mut Call<'_>, operation: &OperationRecord) -> Operation {
    if let OperationResult::Secret(snapshot) = &operation.result {
        call.details = AuditDetails::CreateSecret(describe::secret(snapshot));
    }
    convert::operation(operation)
}

/// The nine rows of the creation matrix (`contract §2.5`).
fn plan(call: &Call<'_>, request: &mut wire::CreateSecretRequest) -> Result<Plan, ApiError> {
    use wire::create_secret_request::PayloadSpecification::PasswordPayloadSpecification;
    let spec = request.payload_specification.as_ref().map(|spec| match spec {
        PasswordPayloadSpecification(spec) => convert::spec_from_wire(spec.clone()),
    });
    let entries = changes(std::mem::take(&mut request.version_payload_entries));
    if spec.is_some() && !entries.is_empty() {
        return Err(ApiError::invalid(ENTRIES_FIELD, "excludes password_payload_specification"));
    }
    let payload = match (request.create_version, &spec) {
        (Some(false), Some(spec)) => {
            password::classes(spec).map_err(errors::wrong_spec)?;
            None
        }
        (Some(false), None) => None,
        (None | Some(true), Some(spec)) => Some(generated(call, spec)?),
        (None, None) if entries.is_empty() => None,
        (Some(true), None) if entries.is_empty() => {
            return Err(ApiError::invalid("create_version", "needs entries or a specification"));
        }
        (None | Some(true), None) => {
            let limits = call.app.config.limits.payload();
            let payload = first_version(entries, limits);
            Some(payload.map_err(|error| errors::wrong_entries(&error, ENTRIES_FIELD))?)
        }
    };
    let folder_id = FolderId::parse(&request.folder_id)
        .map_err(|error| ApiError::invalid("folder_id", error.to_string()))?;
    let kms_key_id = match request.kms_key_id.as_str() {
        "" => None,
        text => Some(
            KmsKeyId::parse(text)
                .map_err(|error| ApiError::invalid("kms_key_id", error.to_string()))?,
        ),
    };
    Ok(Plan { folder_id, kms_key_id, spec, payload })
}

/// The one entry of a generated secret.
pub(super) fn generated(call: &Call<'_>, spec: &PasswordSpec) -> Result<Payload, ApiError> {
    let value = password::generate(spec, call.app.random.as_ref()).map_err(errors::wrong_spec)?;
    let entry = PayloadEntry { key: spec.password_key.clone(), value: EntryValue::Text(value) };
    Ok(Payload { entries: vec![entry] })
}

/// The folder's path and what the KMS will be told, with an early answer on rights.
async fn look_up(
    call: &mut Call<'_>,
    caller: &Caller,
    plan: &Plan,
) -> Result<(ResourcePath, Grants), ApiError> {
    let folder = &plan.folder_id;
    let look = |view: &dyn StateRead| {
        let path = tables::folder_path(view, folder)?
            .ok_or_else(|| Rejection::not_found(ResourceKind::Folder, folder.as_str()))?;
        require(view, &caller.subject, Permission::SecretsCreate, &path)?;
        let grants = match &plan.kms_key_id {
            Some(_) => kms_grants(view, caller, &path)?,
            None => Grants::default(),
        };
        Ok::<_, Refusal>((path, grants))
    };
    // Rights on an own key are told to the KMS alone; `apply` does not judge them again.
    match &plan.kms_key_id {
        Some(_) => call.read(caller, look).await,
        None => call.prepare(caller, look).await,
    }
}

/// The command, sealed: plaintext ends here.
async fn seal(
    call: &mut Call<'_>,
    caller: &Caller,
    request: &wire::CreateSecretRequest,
    plan: &Plan,
    path: &ResourcePath,
    grants: &Grants,
    ids: &FreshIds<'_>,
) -> Result<Command, ApiError> {
    let id = ids.secret();
    let cloud_id = cloud_of(path)?;
    let version = match &plan.payload {
        None => None,
        Some(payload) => {
            let version_id = ids.version();
            let scope = call.mutation_scope();
            let step = KmsStep { step: "seal", version_id: &version_id, scope };
            let own_key = plan
                .kms_key_id
                .as_ref()
                .map(|key| OwnKey { key, assertion: call.assertion(caller, grants, step) });
            let place = SealPlace {
                cloud: &cloud_id,
                folder: &plan.folder_id,
                secret: &id,
                version: &version_id,
            };
            let deadline = call.context.deadline;
            let sealed = call.app.sealer.seal(&place, payload, own_key, deadline).await?;
            call.kms_index = sealed.kms_index;
            Some(NewVersion {
                id: version_id,
                description: request.version_description.clone(),
                entry_keys: payload.keys(),
                password_spec: plan.spec.clone(),
                payload: sealed.value,
            })
        }
    };
    Ok(Command::CreateSecret(Box::new(CreateSecret {
        id,
        folder_id: plan.folder_id.clone(),
        name: request.name.clone(),
        description: request.description.clone(),
        labels: request.labels.clone().into_iter().collect(),
        kms_key_id: plan.kms_key_id.clone(),
        deletion_protection: request.deletion_protection,
        password_spec: plan.spec.clone(),
        version,
        secrets_per_cloud_max: call.app.config.limits.secrets_per_cloud,
        unique_name: call.app.config.limits.unique_names,
    })))
}

/// The cloud on a path; every path has one.
pub(in crate::grpc) fn cloud_of(path: &ResourcePath) -> Result<CloudId, ApiError> {
    let id = path.id_of(ResourceKind::Cloud).unwrap_or_default();
    CloudId::parse(id).map_err(|_| ApiError::internal("a path has no cloud"))
}

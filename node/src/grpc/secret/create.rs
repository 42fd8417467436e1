//! `Create` (`contract §2.5`).

use lockbox_core::{
    CloudId, FolderId, KmsKeyId, Mutant, Permission, ResourceKind, ResourcePath, mutant,
};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_raft::apply::{CreationLimits, recall, require, room_for_secret, secret_id_taken};
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::command::{Command, CreateSecret, IdempotencyClaim, NewVersion};
use lockbox_raft::domain::operation::{OperationRecord, OperationResult};
use lockbox_raft::domain::secret::PasswordSpec;
use lockbox_raft::state::{TimedView, tables};

use super::{changes, few_changes};
use crate::authn::Caller;
use crate::call::{Attempt, Call, KmsOperation};
use crate::config::LimitsConfig;
use crate::fresh_ids::FreshIds;
use crate::grants::{Grants, KmsStep, kms_grants};
use crate::kms::KeyOrigin;
use crate::merge::first_version;
use crate::payload::{EntryValue, Payload, PayloadEntry};
use crate::refused::within;
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

/// Whoever may do one of these to a key may attach it to a secret.
const ANY_USE: [Permission; 3] =
    [Permission::KmsKeysUse, Permission::KmsKeysEncrypt, Permission::KmsKeysDecrypt];

pub(super) async fn create(
    call: &mut Call<'_>,
    mut request: wire::CreateSecretRequest,
) -> Result<Operation, ApiError> {
    let caller = call.admit(&request)?;
    few_changes(call, &request.version_payload_entries, ENTRIES_FIELD)?;
    if call.if_version.is_some() {
        return Err(ApiError::invalid("x-if-version", "a new secret has no current version"));
    }
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, &request)?;
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(answer(call, &operation));
    }
    let plan = plan(call, &mut request)?;
    let random = std::sync::Arc::clone(&call.app.random);
    let mut ids = FreshIds::new(random.as_ref(), claim.as_ref());
    if mutant(Mutant::IdsReused) {
        ids = ids.out_of_one_pool();
    }
    let looked = look_up(call, &caller, &request, &plan, claim.as_ref(), ids).await?;
    let (place, mut ids) = match looked {
        Looked::Known(operation) => {
            call.observe_effect(&operation);
            return Ok(answer(call, &operation));
        }
        Looked::New { place, ids } => (place, ids),
    };
    call.require_room()?;
    check_key(call, &caller, &plan, &place.grants).await?;
    loop {
        let command = seal(call, &caller, &request, &plan, &place, &ids).await?;
        match call.propose(&caller, claim.clone(), command).await {
            // The local view was behind: the same request was executed once.
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

/// Where the secret will be, and what the KMS will be told about its maker.
struct Place {
    path: ResourcePath,
    grants: Grants,
}

/// What a view says of a creation.
enum Looked<'a> {
    /// It was done meanwhile, under the same `idempotency-key`.
    Known(Box<OperationRecord>),
    /// It can be done, with these ids.
    New { place: Place, ids: FreshIds<'a> },
}

/// An early answer on rights, quotas and names, by the rules of `apply`: a refusal costs no KMS
/// operation.
async fn look_up<'a>(
    call: &mut Call<'_>,
    caller: &Caller,
    request: &wire::CreateSecretRequest,
    plan: &Plan,
    claim: Option<&IdempotencyClaim>,
    ids: FreshIds<'a>,
) -> Result<Looked<'a>, ApiError> {
    let folder = &plan.folder_id;
    let configured = &call.app.config.limits;
    let look = |view: &TimedView<'_>| {
        let path = tables::folder_path(view, folder)?
            .ok_or_else(|| Rejection::not_found(ResourceKind::Folder, folder.as_str()))?;
        let (known, path) = within(path, |path| {
            require(view, &caller.subject, Permission::SecretsCreate, path)?;
            // Judged before the ids: a repeat finds its own ones taken.
            if let Some(claim) = claim
                && let Some(operation) = recall(view, &caller.subject, claim)?
            {
                return Ok(Err(Box::new(operation)));
            }
            let cloud = path.id_of(ResourceKind::Cloud).unwrap_or_default();
            room_for_secret(view, folder, &request.name, limits(configured, cloud))?;
            let ids = ids.clone().untaken(|ids| secret_id_taken(view, &ids.secret()))?;
            let grants = match &plan.kms_key_id {
                Some(_) => kms_grants(view, caller)?,
                None => Grants::default(),
            };
            Ok(Ok((grants, ids)))
        })?;
        Ok(match known {
            Err(operation) => Looked::Known(operation),
            Ok((grants, ids)) => Looked::New { place: Place { path, grants }, ids },
        })
    };
    // Rights on an own key are told to the KMS alone; `apply` does not judge them again.
    let looked = match &plan.kms_key_id {
        Some(_) => call.read(caller, look).await?,
        None => call.prepare(caller, look).await?,
    };
    if let Looked::New { place, .. } = &looked {
        call.path = Some(place.path.clone());
    }
    Ok(looked)
}

fn limits(configured: &LimitsConfig, cloud: &str) -> CreationLimits {
    CreationLimits {
        secrets_per_cloud_max: configured.secrets_of(cloud),
        unique_name: configured.unique_names,
    }
}

/// Asks the KMS about a key that nothing is sealed with yet: it has to exist, and the caller has
/// to be allowed its use (`contract §13` no. 19). With a version, sealing asks by doing.
async fn check_key(
    call: &mut Call<'_>,
    caller: &Caller,
    plan: &Plan,
    grants: &Grants,
) -> Result<(), ApiError> {
    let (Some(key), None) = (&plan.kms_key_id, &plan.payload) else { return Ok(()) };
    let assertion = call.assertion(caller, grants, None);
    call.demand_key_right(&ANY_USE, &assertion)?;
    let deadline = call.context.deadline;
    call.kms_index = call.app.kms.check_attach(key, &assertion, deadline).await?;
    Ok(())
}

/// The command, sealed: plaintext ends here.
async fn seal(
    call: &mut Call<'_>,
    caller: &Caller,
    request: &wire::CreateSecretRequest,
    plan: &Plan,
    place: &Place,
    ids: &FreshIds<'_>,
) -> Result<Command, ApiError> {
    let id = ids.secret();
    let Place { path, grants } = place;
    let cloud_id = cloud_of(path)?;
    let version = match &plan.payload {
        None => None,
        Some(payload) => {
            let version_id = ids.version();
            let scope = call.mutation_scope();
            let step = KmsStep { step: "seal", version_id: &version_id, scope };
            let own_key = plan.kms_key_id.as_ref().map(|key| OwnKey {
                key,
                origin: KeyOrigin::Request,
                assertion: call.assertion(caller, grants, Some(step)),
            });
            if let Some(own_key) = &own_key {
                call.asks_kms(KmsOperation::GenerateDataKey, own_key.key, &own_key.assertion)?;
            }
            let place = SealPlace {
                cloud: &cloud_id,
                folder: &plan.folder_id,
                secret: &id,
                version: &version_id,
            };
            let deadline = call.context.deadline;
            let sealed = call.app.sealer.seal(&place, payload, own_key, deadline).await?;
            call.kms_has_answered();
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
    let limits = limits(&call.app.config.limits, cloud_id.as_str());
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
        secrets_per_cloud_max: limits.secrets_per_cloud_max,
        unique_name: limits.unique_name,
    })))
}

/// The cloud on a path; every path has one.
pub(in crate::grpc) fn cloud_of(path: &ResourcePath) -> Result<CloudId, ApiError> {
    let id = path.id_of(ResourceKind::Cloud).unwrap_or_default();
    CloudId::parse(id).map_err(|_| ApiError::internal("a path has no cloud"))
}

//! `AddVersion`: a delta on a base (`contract §2.6`), merged again when the base moves.

use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{Mutant, Permission, ResourceKind, ResourcePath, SecretId, VersionId, mutant};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::AddVersionDetails;
use lockbox_platform::status::ApiError;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_raft::apply::{
    Refusal, default_base, expect_current, recall, require, room_for_version,
};
use lockbox_raft::domain::Rejection;
use lockbox_raft::domain::command::{AddVersion, Command, IdempotencyClaim, MergeBase, NewVersion};
use lockbox_raft::domain::operation::{OperationMetadata, OperationRecord, OperationResult};
use lockbox_raft::domain::outcome::Precondition;
use lockbox_raft::domain::secret::{SecretRecord, SecretStatus};
use lockbox_raft::domain::version::{SealedPayload, VersionRecord, VersionStatus};
use lockbox_raft::state::{StateRead, TimedView, tables};

use tonic::Code;

use super::create::{cloud_of, generated};
use super::{changes, few_changes, parse_secret_id};
use crate::authn::Caller;
use crate::call::{Attempt, Call, KmsOperation};
use crate::errors::{no_turn, rejected, wrong_entries};
use crate::fresh_ids::FreshIds;
use crate::grants::{Grants, KmsStep, kms_grants};
use crate::kms::KeyOrigin;
use crate::merge::{EntryChange, merge};
use crate::payload::Payload;
use crate::refused::within;
use crate::seal::SealPlace;
use crate::sealer::OwnKey;
use crate::turns::Turn;
use crate::{convert, describe, idempotency, seeded};

/// Merges that one call attempts before it gives up with ABORTED (`design §8`). With one caller of
/// each node at a time, losing that often against two others is a matter of one in a million.
const MERGES_MAX: u32 = 32;
/// Longest pause before a merge in a crowd, in milliseconds. It is jittered, so that the node
/// nearest to the leader does not win each time.
const PAUSE_MS_MAX: u8 = 8;

const ENTRIES_FIELD: &str = "payload_entries";

/// The audit details of an AddVersion, as far as the request names them.
pub(super) fn event(secret_id: &str) -> AuditDetails {
    let secret = describe::secret_id(secret_id);
    AuditDetails::AddVersion(AddVersionDetails { secret, ..AddVersionDetails::default() })
}

/// What the request asks for, taken apart.
struct Wanted {
    secret_id: SecretId,
    base: Option<VersionId>,
    description: String,
    changes: Vec<EntryChange>,
    claim: Option<IdempotencyClaim>,
}

/// What one view says about the secret and the base.
struct Situation<'a> {
    secret: SecretRecord,
    path: ResourcePath,
    base: Option<(VersionRecord, SealedPayload)>,
    grants: Grants,
    ids: FreshIds<'a>,
    /// Only of a mutant: the id of a version that is destroyed.
    reused: Option<VersionId>,
}

/// What one view says of the request.
enum Looked<'a> {
    /// It was done meanwhile, under the same `idempotency-key`.
    Known(Box<OperationRecord>),
    /// It can be done.
    New(Box<Situation<'a>>),
}

pub(super) async fn add_version(
    call: &mut Call<'_>,
    mut request: wire::AddVersionRequest,
) -> Result<Operation, ApiError> {
    let caller = call.admit(&request)?;
    few_changes(call, &request.payload_entries, ENTRIES_FIELD)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, &request)?;
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(convert::operation(&operation));
    }
    let mut wanted = wanted(&mut request)?;
    wanted.claim.clone_from(&claim);
    let random = Arc::clone(&call.app.random);
    let mut ids = FreshIds::new(random.as_ref(), claim.as_ref());
    let mut merges = 0;
    let mut fresh = false;
    // One id for all merges of the call: only one of them is stored, and only one is billed.
    let mut version_id = None;
    let mut turn = None;
    loop {
        let situation = match situation(call, &caller, &wanted, &ids, &mut fresh).await? {
            Looked::Known(operation) => {
                call.observe_effect(&operation);
                return Ok(convert::operation(&operation));
            }
            Looked::New(situation) => *situation,
        };
        call.path = Some(situation.path.clone());
        // After the first look: whoever may not add a version keeps nobody waiting.
        if turn.is_none() && situation.moves_with_others(&wanted) {
            let taken = turn.insert(my_turn(call, &wanted.secret_id).await?);
            if taken.waited {
                pause(call).await;
                continue;
            }
        }
        let version_id = version_id.get_or_insert_with(|| {
            ids = situation.ids.clone();
            situation.reused.clone().unwrap_or_else(|| ids.version())
        });
        let sealed = seal(call, &caller, &wanted, &situation, version_id.clone()).await;
        let command = match sealed {
            // The local view may lag; a refusal is an answer and must reflect what is acknowledged.
            Err(error) if error.code() == Code::InvalidArgument && !fresh => {
                fresh = true;
                continue;
            }
            sealed => sealed?,
        };
        merges += 1;
        match call.propose(&caller, claim.clone(), command).await {
            Ok(operation) => {
                note(call, &operation, &situation, &wanted);
                return Ok(convert::operation(&operation));
            }
            // Another version became current meanwhile: its keys must not vanish, so merge again.
            Err(Attempt::Rejected(Rejection::BaseMoved { .. }, at)) if merges < MERGES_MAX => {
                // Whether it was applied in time is decided by the next merge.
                let deadline = call.context.deadline;
                if call.app.replica.wait_applied(at.index, deadline).await.is_ok() {
                    pause(call).await;
                }
            }
            // The local view was behind: the same request was executed once.
            Err(Attempt::Rejected(Rejection::AlreadyExists { .. }, _)) if ids.next_round() => {
                *version_id = ids.version();
            }
            Err(Attempt::Rejected(rejection, at)) => return Err(rejected(&rejection, at)),
            Err(Attempt::Failed(error)) => return Err(error),
        }
    }
}

fn wanted(request: &mut wire::AddVersionRequest) -> Result<Wanted, ApiError> {
    let base = match request.base_version_id.as_str() {
        "" => None,
        text => Some(
            VersionId::parse(text)
                .map_err(|error| ApiError::invalid("base_version_id", error.to_string()))?,
        ),
    };
    Ok(Wanted {
        secret_id: parse_secret_id(&request.secret_id)?,
        base,
        description: std::mem::take(&mut request.description),
        changes: changes(std::mem::take(&mut request.payload_entries)),
        claim: None,
    })
}

/// What the state says: the local view where `apply` will judge all of it, and one behind a
/// barrier where it does not: rights on an own key are told to the KMS and to nobody else.
async fn situation<'a>(
    call: &mut Call<'_>,
    caller: &Caller,
    wanted: &Wanted,
    ids: &FreshIds<'a>,
    fresh: &mut bool,
) -> Result<Looked<'a>, ApiError> {
    let if_version = call.if_version.clone();
    let versions_max = call.app.config.limits.versions_per_secret;
    let look = |view: &TimedView<'_>| {
        let id = &wanted.secret_id;
        let secret = tables::secret(view, id)?
            .ok_or_else(|| Rejection::not_found(ResourceKind::Secret, id.as_str()))?;
        let path = tables::secret_path(view, &secret)?;
        let look = |path: &ResourcePath| {
            require(view, &caller.subject, Permission::VersionsAdd, path)?;
            // A repeat finds the version that it expects and the id that it makes taken by itself.
            if let Some(claim) = &wanted.claim
                && let Some(operation) = recall(view, &caller.subject, claim)?
            {
                return Ok(Looked::Known(Box::new(operation)));
            }
            // Judged by `apply` as well; asked here so that a refusal costs no KMS operation.
            expect_current(if_version.as_ref(), &secret)?;
            room_for_version(&secret, versions_max)?;
            let situation = look_up(view, caller, wanted, ids, &secret, path)?;
            Ok(Looked::New(Box::new(situation)))
        };
        Ok(within(path, look)?.0)
    };
    if !*fresh {
        let glance = call.prepare(caller, look).await?;
        if matches!(&glance, Looked::New(s) if s.secret.kms_key_id.is_none()) {
            return Ok(glance);
        }
        *fresh = true;
    }
    call.read(caller, look).await
}

impl Situation<'_> {
    /// Whether another version of the secret makes this merge worthless.
    fn moves_with_others(&self, wanted: &Wanted) -> bool {
        wanted.base.is_none() && self.secret.password_spec.is_none()
    }
}

/// Waits until no other call of this node is merging onto the secret.
async fn my_turn(call: &Call<'_>, secret: &SecretId) -> Result<Turn, ApiError> {
    let turn = call.app.turns.take(secret, call.context.deadline).await;
    turn.map_err(no_turn)
}

/// A pause of random length.
async fn pause(call: &Call<'_>) {
    let mut byte = [0];
    call.app.random.fill(&mut byte);
    tokio::time::sleep(Duration::from_millis(u64::from(byte[0] % PAUSE_MS_MAX))).await;
}

fn look_up<'a>(
    view: &TimedView<'_>,
    caller: &Caller,
    wanted: &Wanted,
    ids: &FreshIds<'a>,
    secret: &SecretRecord,
    path: &ResourcePath,
) -> Result<Situation<'a>, Refusal> {
    if secret.status == SecretStatus::Inactive {
        return Err(Precondition::SecretInactive.into());
    }
    let base_id = match &wanted.base {
        Some(named) => Some(named.clone()),
        None => default_base(view, secret)?,
    };
    let base = match base_id {
        // A generated secret ignores its base, but a base that is named must exist.
        Some(id) => Some(base_of(view, secret, &id)?),
        None => None,
    };
    let grants = match &secret.kms_key_id {
        Some(_) => kms_grants(view, caller)?,
        None => Grants::default(),
    };
    let taken = |ids: &FreshIds<'_>| tables::any_version(view, &ids.version());
    let ids = ids.clone().untaken(|ids| taken(ids).map(|found| found.is_some()))?;
    let reused = match mutant(Mutant::VersionIdReused) {
        true => seeded::destroyed_version(view, secret)?,
        false => None,
    };
    Ok(Situation { secret: secret.clone(), path: path.clone(), base, grants, ids, reused })
}

fn base_of(
    view: &dyn StateRead,
    secret: &SecretRecord,
    id: &VersionId,
) -> Result<(VersionRecord, SealedPayload), Refusal> {
    let version = tables::version(view, &secret.id, id)?
        .ok_or_else(|| Rejection::not_found(ResourceKind::SecretVersion, id.as_str()))?;
    let payload = tables::payload(view, &secret.id, id)?;
    match (version.status, payload) {
        (VersionStatus::Active, Some(payload)) => Ok((version, payload)),
        _ => Err(Precondition::VersionNotActive(id.clone()).into()),
    }
}

/// The command, merged and sealed: plaintext ends here.
async fn seal(
    call: &mut Call<'_>,
    caller: &Caller,
    wanted: &Wanted,
    situation: &Situation<'_>,
    version_id: VersionId,
) -> Result<Command, ApiError> {
    call.require_room()?;
    let secret = &situation.secret;
    let (payload, base) = match &secret.password_spec {
        Some(_) if !wanted.changes.is_empty() => {
            return Err(ApiError::invalid(ENTRIES_FIELD, "must be empty for a generated secret"));
        }
        Some(spec) => (generated(call, spec)?, MergeBase::Generated),
        None => merged(call, caller, wanted, situation).await?,
    };
    let cloud_id = cloud_of(&situation.path)?;
    let place = SealPlace {
        cloud: &cloud_id,
        folder: &secret.folder_id,
        secret: &secret.id,
        version: &version_id,
    };
    let step = KmsStep { step: "seal", version_id: &version_id, scope: call.mutation_scope() };
    let own_key = secret.kms_key_id.as_ref().map(|key| OwnKey {
        key,
        origin: KeyOrigin::Secret,
        assertion: call.assertion(caller, &situation.grants, Some(step)),
    });
    if let Some(own_key) = &own_key {
        call.asks_kms(KmsOperation::GenerateDataKey, own_key.key, &own_key.assertion)?;
    }
    let sealed = call.app.sealer.seal(&place, &payload, own_key, call.context.deadline).await?;
    call.kms_has_answered();
    call.kms_index = sealed.kms_index;
    Ok(Command::AddVersion(Box::new(AddVersion {
        secret_id: secret.id.clone(),
        version: NewVersion {
            id: version_id,
            description: wanted.description.clone(),
            entry_keys: payload.keys(),
            password_spec: secret.password_spec.clone(),
            payload: sealed.value,
        },
        base,
        versions_per_secret_max: call.app.config.limits.versions_per_secret,
    })))
}

/// The base's entries with the request's changes applied.
async fn merged(
    call: &mut Call<'_>,
    caller: &Caller,
    wanted: &Wanted,
    situation: &Situation<'_>,
) -> Result<(Payload, MergeBase), ApiError> {
    let secret = &situation.secret;
    let base_payload = match &situation.base {
        None => Payload::default(),
        Some((version, sealed)) => {
            let cloud_id = cloud_of(&situation.path)?;
            let place = SealPlace {
                cloud: &cloud_id,
                folder: &secret.folder_id,
                secret: &secret.id,
                version: &version.id,
            };
            let scope = call.mutation_scope();
            let step = KmsStep { step: "open", version_id: &version.id, scope };
            let own_key = secret.kms_key_id.as_ref();
            let assertion = own_key.map(|_| call.assertion(caller, &situation.grants, Some(step)));
            if let (Some(key), Some(assertion)) = (own_key, &assertion) {
                call.asks_kms(KmsOperation::Decrypt, key, assertion)?;
            }
            let (sealer, deadline) = (&call.app.sealer, call.context.deadline);
            let opened = sealer.open(&place, sealed, assertion.as_ref(), deadline).await?;
            call.kms_has_answered();
            call.kms_index = opened.kms_index.or_else(|| call.kms_index.take());
            opened.value
        }
    };
    let limits = call.app.config.limits.payload();
    let payload = merge(base_payload, wanted.changes.clone(), limits)
        .map_err(|error| wrong_entries(&error, ENTRIES_FIELD))?;
    let base = match &wanted.base {
        Some(named) => MergeBase::Named(named.clone()),
        None => MergeBase::Default(situation.base.as_ref().map(|(version, _)| version.id.clone())),
    };
    Ok((payload, base))
}

/// Fills the audit details of a success.
fn note(
    call: &mut Call<'_>,
    operation: &OperationRecord,
    situation: &Situation<'_>,
    wanted: &Wanted,
) {
    if let (
        OperationMetadata::AddVersion { previous_version_id, .. },
        OperationResult::Version(version),
    ) = (&operation.metadata, &operation.result)
    {
        let secret = &situation.secret;
        let previous = previous_version_id.as_ref().map(ToString::to_string).unwrap_or_default();
        let base = situation.base.as_ref();
        let base_keys = base.map_or(&[][..], |(v, _)| v.entry_keys.as_slice());
        let changed = wanted.changes.iter().map(|change| change.key.as_str());
        let added = describe::added_version(secret, version, &previous, base_keys, changed);
        call.details = AuditDetails::AddVersion(added);
    }
}

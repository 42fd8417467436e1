//! `cluster init`: the first members, the first keys, the first administrator.
//!
//! The administrator's private key never comes here: the operator makes the pair and sends the
//! public half. So a repeat with the same key can be answered like the first call, and a lost
//! answer loses nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use lockbox_core::{
    AuthorizedKeyId, CloudId, ClusterId, FolderId, LogTime, NodeId, OperationId, OrganizationId,
    RequestId, Sensitive, ServiceAccountId, Subject,
};
use lockbox_platform::authorized_key::KeyAlgorithm as FileAlgorithm;
use lockbox_platform::public_key::PublicKey;
use lockbox_platform::status::ApiError;
use lockbox_platform::token::TokenSigner;
use lockbox_raft::apply::Refusal;
use lockbox_raft::domain::command::{
    Command, CreateAuthorizedKey, CreateServiceAccount, Envelope, InitCluster,
};
use lockbox_raft::domain::identity::{ClusterRecord, KeyAlgorithm};
use lockbox_raft::domain::keyring::{KeyPurpose, KeyStage, KeyringKeyRecord};
use lockbox_raft::domain::outcome::{Outcome, Precondition, Rejection};
use lockbox_raft::replica::{Applied, InitializeError};
use lockbox_raft::state::{StateRead, tables};
use lockbox_raft::types::Member;
use tokio::time::Instant;

use crate::app::App;
use crate::errors::{DecidedAt, rejected, unproposed, unread};
use crate::rotation::wrapped_key;
use crate::seal::SymmetricKey;

/// How long initialisation may wait for a leader and the KMS.
const DEADLINE: Duration = Duration::from_secs(30);
/// The administrator's name.
pub(crate) const ADMIN_NAME: &str = "admin";
/// The first folder's name, unless given.
const FOLDER_NAME: &str = "default";

/// What the operator wants the first resources to be called; what is absent is made up.
#[derive(Debug, Clone, Default)]
pub struct FirstNames {
    /// The organization.
    pub organization_id: Option<OrganizationId>,
    /// The first cloud.
    pub cloud_id: Option<CloudId>,
    /// The first folder.
    pub folder_id: Option<FolderId>,
    /// The first folder's name; `default` when absent.
    pub folder_name: Option<String>,
}

/// What initialisation made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initialised {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The organization.
    pub organization_id: OrganizationId,
    /// The first cloud.
    pub cloud_id: CloudId,
    /// The first folder.
    pub folder_id: FolderId,
    /// The administrator.
    pub admin_id: ServiceAccountId,
    /// The administrator's authorized key.
    pub admin_key_id: AuthorizedKeyId,
    /// Its public half.
    pub public_key_pem: String,
    /// When the cluster was made.
    pub created_at: LogTime,
}

/// Initialises the cluster with these members; this node must be one of them.
///
/// Once it is initialised, the same public key gets the same answer.
///
/// # Errors
/// INVALID_ARGUMENT for a key or members that cannot be, FAILED_PRECONDITION when it is
/// initialised with another key, UNAVAILABLE without KMS (nothing has changed then) or leader.
pub async fn initialise(
    app: &App,
    system_key_id: &str,
    members: BTreeMap<NodeId, Member>,
    names: FirstNames,
    public_key_pem: &str,
) -> Result<Initialised, ApiError> {
    let deadline = Instant::now() + DEADLINE;
    let public_key = PublicKey::parse(public_key_pem)
        .map_err(|error| ApiError::invalid("admin_public_key", error.to_string()))?;
    if !members.contains_key(&app.config.node_id) {
        return Err(ApiError::invalid("members", "must hold the node that is called"));
    }
    let known = app.replica.read_stale(|view, _| tables::cluster(view));
    let known = known.and_then(|reading| reading.value);
    if known.map_err(|error| ApiError::internal(error.to_string()))?.is_some() {
        return repeat(app, &public_key, deadline).await;
    }
    let mut init = plan(app, system_key_id, names, &public_key, deadline).await?;
    match app.replica.initialize(init.cluster.id.clone(), members).await {
        // An earlier attempt came this far and no further: the state decides what is next.
        Ok(()) | Err(InitializeError::AlreadyInitialised) => {}
        Err(
            error @ (InitializeError::NotAMember(_)
            | InitializeError::Unreachable(_)
            | InitializeError::Stopped),
        ) => return Err(ApiError::unavailable(error.to_string())),
        Err(error @ InitializeError::NotFresh(_)) => {
            return Err(ApiError::invalid("members", error.to_string()));
        }
    }
    init.feature_level = feature_level(app, deadline).await;
    let Some(created_at) = propose(app, &init, deadline).await? else {
        return repeat(app, &public_key, deadline).await;
    };
    Ok(Initialised {
        cluster_id: init.cluster.id,
        organization_id: init.organization_id,
        cloud_id: init.cloud_id,
        folder_id: init.folder_id,
        admin_id: init.admin.id,
        admin_key_id: init.admin_key.id,
        public_key_pem: init.admin_key.public_key_pem,
        created_at,
    })
}

/// The level that all first members understand. When one of them does not answer any more the
/// cluster begins at the lowest, and an operator raises it.
async fn feature_level(app: &App, deadline: Instant) -> u32 {
    match app.replica.common_feature_level(deadline).await {
        Ok(level) => level,
        Err(error) => {
            tracing::warn!(%error, "the cluster begins at feature level 0");
            0
        }
    }
}

/// The answer of the first call, for who shows the key of the first call.
async fn repeat(
    app: &App,
    public_key: &PublicKey,
    deadline: Instant,
) -> Result<Initialised, ApiError> {
    let reading = app.replica.read(deadline, |view, _| made(view, public_key)).await;
    let reading = reading.map_err(unread)?;
    let at = DecidedAt { index: reading.index, term: reading.term };
    reading.value.map_err(|refusal| match refusal {
        Refusal::Rejected(rejection) => rejected(&rejection, at),
        Refusal::Storage(error) => ApiError::internal(error.to_string()),
    })
}

fn made(view: &dyn StateRead, public_key: &PublicKey) -> Result<Initialised, Refusal> {
    let other = || Refusal::from(Precondition::AlreadyInitialised);
    let cluster = tables::cluster(view)?.ok_or(Precondition::NotInitialised)?;
    let first = tables::first_resources(view)?.ok_or_else(other)?;
    // A key that was deleted since then is no longer the administrator's.
    let key = tables::authorized_key(view, &first.admin_key_id)?.ok_or_else(other)?;
    if key.public_key_pem != public_key.pem() {
        return Err(other());
    }
    Ok(Initialised {
        cluster_id: cluster.id,
        organization_id: cluster.organization_id,
        cloud_id: first.cloud_id,
        folder_id: first.folder_id,
        admin_id: first.admin_id,
        admin_key_id: first.admin_key_id,
        public_key_pem: key.public_key_pem,
        created_at: cluster.created_at,
    })
}

/// The command, complete: asks the KMS before anything is changed.
async fn plan(
    app: &App,
    system_key_id: &str,
    names: FirstNames,
    public_key: &PublicKey,
    deadline: Instant,
) -> Result<InitCluster, ApiError> {
    let random = app.random.as_ref();
    let cluster_id = ClusterId::generate(random);
    let keyring = keyring(app, &cluster_id, system_key_id, deadline).await?;
    let organization_id = names.organization_id.unwrap_or_else(|| OrganizationId::generate(random));
    let folder_id = names.folder_id.unwrap_or_else(|| FolderId::generate(random));
    let admin = CreateServiceAccount {
        id: ServiceAccountId::generate(random),
        folder_id: folder_id.clone(),
        name: ADMIN_NAME.to_owned(),
        description: "bootstrap administrator".to_owned(),
        labels: BTreeMap::new(),
        expires_at: None,
    };
    let admin_key = CreateAuthorizedKey {
        id: AuthorizedKeyId::generate(random),
        service_account_id: admin.id.clone(),
        description: "brought to cluster init".to_owned(),
        algorithm: stored_algorithm(public_key),
        public_key_pem: public_key.pem().to_owned(),
        keys_per_account_max: 0,
    };
    Ok(InitCluster {
        cluster: ClusterRecord {
            id: cluster_id,
            created_at: LogTime::default(),
            organization_id: organization_id.clone(),
            system_key_id: system_key_id.to_owned(),
            keyring_cluster: None,
        },
        organization_id,
        cloud_id: names.cloud_id.unwrap_or_else(|| CloudId::generate(random)),
        folder_id,
        folder_name: names.folder_name.unwrap_or_else(|| FOLDER_NAME.to_owned()),
        admin,
        admin_key,
        keyring,
        // The members are asked once there is a membership.
        feature_level: 0,
    })
}

/// The algorithm of a key as the state has it.
pub(crate) fn stored_algorithm(key: &PublicKey) -> KeyAlgorithm {
    match key.algorithm() {
        FileAlgorithm::Rsa2048 => KeyAlgorithm::Rsa2048,
        FileAlgorithm::Rsa4096 => KeyAlgorithm::Rsa4096,
    }
}

/// One key for each purpose, wrapped by the system key.
async fn keyring(
    app: &App,
    cluster: &ClusterId,
    system_key_id: &str,
    deadline: Instant,
) -> Result<Vec<KeyringKeyRecord>, ApiError> {
    let purposes =
        [KeyPurpose::WrapDataKeys, KeyPurpose::AuthenticateRequests, KeyPurpose::SignTokens];
    let mut records = Vec::new();
    for (id, purpose) in (1_u32..).zip(purposes) {
        let (key, wrapped) =
            wrapped_key(app, cluster, system_key_id, (id, purpose), deadline).await?;
        let public_key = match purpose {
            KeyPurpose::SignTokens => public_half(id, &key)?,
            KeyPurpose::WrapDataKeys | KeyPurpose::AuthenticateRequests => Vec::new(),
        };
        let stage = KeyStage::Activated;
        records.push(KeyringKeyRecord::new(id, purpose, stage, wrapped, public_key));
    }
    Ok(records)
}

fn public_half(id: u32, seed: &SymmetricKey) -> Result<Vec<u8>, ApiError> {
    let signer = TokenSigner::from_seed(id, &Sensitive::new(*seed.expose()))
        .map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(signer.public_key().to_vec())
}

/// Proposes what a certificate admits: the cluster's own doing, for no subject can log in.
pub(crate) async fn propose_for_cluster(
    app: &App,
    command: Command,
    deadline: Instant,
) -> Result<Applied, ApiError> {
    let random = app.random.as_ref();
    let envelope = Envelope {
        request_id: RequestId::generate(random),
        subject: Subject::internal(),
        token: None,
        operation_id: OperationId::generate(random),
        idempotency: None,
        if_version: None,
        proposed_at: LogTime::default(),
        command,
    };
    let applied = app.replica.propose(envelope, deadline).await;
    applied.map_err(|error| unproposed(&error))
}

/// Proposes it; nothing when another initialisation came first.
async fn propose(
    app: &App,
    init: &InitCluster,
    deadline: Instant,
) -> Result<Option<LogTime>, ApiError> {
    let command = Command::InitCluster(Box::new(init.clone()));
    let applied = propose_for_cluster(app, command, deadline).await?;
    match applied.outcome {
        Outcome::Done(operation) => Ok(Some(operation.created_at)),
        Outcome::Rejected(Rejection::Precondition(Precondition::AlreadyInitialised)) => Ok(None),
        Outcome::Rejected(rejection) => {
            let at = DecidedAt { index: applied.index, term: applied.term };
            Err(rejected(&rejection, at))
        }
        Outcome::Nothing => Err(ApiError::internal("initialisation was applied as nothing")),
    }
}

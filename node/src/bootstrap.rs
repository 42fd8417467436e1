//! `cluster init`: the first members, the first keys, the first administrator.
//!
//! The administrator's private key is returned once and stored nowhere. A second call finds an
//! initialised cluster and is refused by `apply`.

use std::collections::BTreeMap;
use std::time::Duration;

use lockbox_core::{
    AuthorizedKeyId, CloudId, ClusterId, FolderId, LogTime, NodeId, OperationId, OrganizationId,
    Randomness, RequestId, Sensitive, SensitiveString, ServiceAccountId, Subject,
};
use lockbox_platform::authorized_key::{KeyAlgorithm as FileAlgorithm, generate_key_pair};
use lockbox_platform::status::ApiError;
use lockbox_platform::token::TokenSigner;
use lockbox_raft::domain::command::{
    Command, CreateAuthorizedKey, CreateServiceAccount, Envelope, InitCluster,
};
use lockbox_raft::domain::identity::{ClusterRecord, KeyAlgorithm};
use lockbox_raft::domain::keyring::{KeyPurpose, KeyStage, KeyringKeyRecord};
use lockbox_raft::domain::outcome::Outcome;
use lockbox_raft::replica::InitializeError;
use lockbox_raft::types::Member;
use tokio::time::Instant;

use crate::app::App;
use crate::keyring::associated_data;
use crate::seal::SymmetricKey;

/// How long initialisation may wait for a leader and the KMS.
const DEADLINE: Duration = Duration::from_secs(30);
/// The administrator's name.
const ADMIN_NAME: &str = "admin";

/// What initialisation made; shown once.
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
    /// Its private half; shown once, stored nowhere.
    pub private_key_pem: SensitiveString,
    /// When the cluster was made.
    pub created_at: LogTime,
}

/// Initialises the cluster with these members; this node must be one of them.
///
/// # Errors
/// FAILED_PRECONDITION when it is initialised already, UNAVAILABLE without KMS or leader.
pub async fn initialise(
    app: &App,
    system_key_id: &str,
    members: BTreeMap<NodeId, Member>,
) -> Result<Initialised, ApiError> {
    let deadline = Instant::now() + DEADLINE;
    let random = app.random.as_ref();
    let cluster_id = ClusterId::generate(random);
    let keyring = keyring(app, &cluster_id, system_key_id, deadline).await?;
    let pair = generate_key_pair(FileAlgorithm::Rsa2048)
        .map_err(|error| ApiError::internal(error.to_string()))?;
    let init = InitCluster {
        cluster: ClusterRecord {
            id: cluster_id.clone(),
            created_at: LogTime::default(),
            organization_id: OrganizationId::generate(random),
            system_key_id: system_key_id.to_owned(),
        },
        organization_id: OrganizationId::generate(random),
        cloud_id: CloudId::generate(random),
        folder_id: FolderId::generate(random),
        folder_name: "default".to_owned(),
        admin: admin(random),
        admin_key: CreateAuthorizedKey {
            id: AuthorizedKeyId::generate(random),
            service_account_id: ServiceAccountId::generate(random),
            description: "made by cluster init".to_owned(),
            algorithm: KeyAlgorithm::Rsa2048,
            public_key_pem: pair.public_key_pem.clone(),
        },
        keyring,
    };
    let init = consistent(init);
    match app.replica.initialize(cluster_id, members).await {
        // An earlier attempt came this far and no further: the state decides what is next.
        Ok(()) | Err(InitializeError::AlreadyInitialised) => {}
        Err(error @ (InitializeError::NotAMember(_) | InitializeError::Stopped)) => {
            return Err(ApiError::unavailable(error.to_string()));
        }
    }
    let created_at = propose(app, &init, deadline).await?;
    Ok(Initialised {
        cluster_id: init.cluster.id,
        organization_id: init.organization_id,
        cloud_id: init.cloud_id,
        folder_id: init.folder_id,
        admin_id: init.admin.id,
        admin_key_id: init.admin_key.id,
        public_key_pem: pair.public_key_pem,
        private_key_pem: pair.private_key_pem,
        created_at,
    })
}

fn admin(random: &dyn Randomness) -> CreateServiceAccount {
    CreateServiceAccount {
        id: ServiceAccountId::generate(random),
        folder_id: FolderId::generate(random),
        name: ADMIN_NAME.to_owned(),
        description: "bootstrap administrator".to_owned(),
        labels: BTreeMap::new(),
        expires_at: None,
    }
}

/// Makes every part name the same organization, folder and account.
fn consistent(mut init: InitCluster) -> InitCluster {
    init.cluster.organization_id = init.organization_id.clone();
    init.admin.folder_id = init.folder_id.clone();
    init.admin_key.service_account_id = init.admin.id.clone();
    init
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
        let key = SymmetricKey::generate(app.random.as_ref());
        let data = associated_data(cluster.as_str(), id, purpose);
        let plaintext = Sensitive::new(key.expose().to_vec());
        let wrapped =
            app.kms.system_encrypt(system_key_id, data, &plaintext, deadline).await.map_err(
                |status| {
                    ApiError::unavailable(format!("the KMS wraps no keyring: {:?}", status.code()))
                },
            )?;
        let public_key = match purpose {
            KeyPurpose::SignTokens => public_half(id, &key)?,
            KeyPurpose::WrapDataKeys | KeyPurpose::AuthenticateRequests => Vec::new(),
        };
        let (stage, created_at) = (KeyStage::Activated, LogTime::default());
        records.push(KeyringKeyRecord { id, purpose, stage, created_at, wrapped, public_key });
    }
    Ok(records)
}

fn public_half(id: u32, seed: &SymmetricKey) -> Result<Vec<u8>, ApiError> {
    let signer = TokenSigner::from_seed(id, &Sensitive::new(*seed.expose()))
        .map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(signer.public_key().to_vec())
}

async fn propose(app: &App, init: &InitCluster, deadline: Instant) -> Result<LogTime, ApiError> {
    let random = app.random.as_ref();
    let envelope = Envelope {
        request_id: RequestId::generate(random),
        subject: Subject::internal(),
        token: None,
        operation_id: OperationId::generate(random),
        idempotency: None,
        if_version: None,
        proposed_at: LogTime::default(),
        command: Command::InitCluster(Box::new(init.clone())),
    };
    let applied = app.replica.propose(envelope, deadline).await;
    let applied = applied.map_err(|error| ApiError::unavailable(error.to_string()))?;
    match applied.outcome {
        Outcome::Done(operation) => Ok(operation.created_at),
        Outcome::Rejected(rejection) => {
            let at = crate::errors::DecidedAt { index: applied.index, term: applied.term };
            Err(crate::errors::rejected(&rejection, at))
        }
        Outcome::Nothing => Err(ApiError::internal("initialisation was applied as nothing")),
    }
}

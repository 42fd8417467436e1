//! `cluster recover-admin`: a key for an administrator that has lost its own.
//!
//! As at `cluster init`, the operator makes the pair and sends the public half. Every decision is
//! `apply`'s; here the command is made complete.

use lockbox_core::{AuthorizedKeyId, ServiceAccountId};
use lockbox_platform::public_key::PublicKey;
use lockbox_platform::status::ApiError;
use lockbox_raft::domain::command::{Command, RecoverAdmin};
use lockbox_raft::domain::identity::{AuthorizedKeyRecord, FirstResources};
use lockbox_raft::domain::operation::{OperationMetadata, OperationResult};
use lockbox_raft::domain::outcome::{Outcome, Precondition};
use lockbox_raft::state::tables;
use tokio::time::Instant;

use crate::app::App;
use crate::bootstrap::{ADMIN_NAME, propose_for_cluster, stored_algorithm};
use crate::errors::{DecidedAt, rejected, unread};

/// What recovery came to.
#[derive(Debug)]
pub struct Recovered {
    /// The administrator's key.
    pub key: AuthorizedKeyRecord,
    /// The keys that it had before, and has no more.
    pub deleted_key_ids: Vec<AuthorizedKeyId>,
    /// Where the administrator is.
    pub first: FirstResources,
    /// The entry that did it.
    pub at: DecidedAt,
}

/// Makes the bootstrap administrator able to log in with this key.
///
/// # Errors
/// INVALID_ARGUMENT for a key that cannot be, FAILED_PRECONDITION before `cluster init`,
/// UNAVAILABLE without a leader.
pub async fn recover_admin(
    app: &App,
    public_key_pem: &str,
    keep_keys: bool,
    deadline: Instant,
) -> Result<Recovered, ApiError> {
    let public_key = PublicKey::parse(public_key_pem)
        .map_err(|error| ApiError::invalid("admin_public_key", error.to_string()))?;
    let known = app.replica.read_stale(|view, _| tables::cluster(view));
    let known = known.map_err(|error| ApiError::internal(error.to_string()))?;
    let seen = DecidedAt { index: known.index, term: known.term };
    if known.value.map_err(|error| ApiError::internal(error.to_string()))?.is_none() {
        // Not waited for: without a cluster there is no leader who would say so.
        return Err(rejected(&Precondition::NotInitialised.into(), seen));
    }
    let random = app.random.as_ref();
    let command = Command::RecoverAdmin(Box::new(RecoverAdmin {
        key_id: AuthorizedKeyId::generate(random),
        algorithm: stored_algorithm(&public_key),
        public_key_pem: public_key.pem().to_owned(),
        keep_keys,
        name: ADMIN_NAME.to_owned(),
        replacement_id: ServiceAccountId::generate(random),
    }));
    let applied = propose_for_cluster(app, command, deadline).await?;
    let at = DecidedAt { index: applied.index, term: applied.term };
    let operation = match applied.outcome {
        Outcome::Done(operation) => operation,
        Outcome::Rejected(rejection) => return Err(rejected(&rejection, at)),
        Outcome::Nothing => return Err(ApiError::internal("recovery was applied as nothing")),
    };
    let (
        OperationMetadata::RecoverAdmin { deleted_key_ids, .. },
        OperationResult::AuthorizedKey(key),
    ) = (operation.metadata, operation.result)
    else {
        return Err(ApiError::internal("recovery answered with another thing"));
    };
    let first = app.replica.read(deadline, |view, _| tables::first_resources(view)).await;
    let first = first.map_err(unread)?.value.map_err(|e| ApiError::internal(e.to_string()))?;
    let first = first.ok_or_else(|| ApiError::internal("the cluster has no first resources"))?;
    Ok(Recovered { key: *key, deleted_key_ids, first, at })
}

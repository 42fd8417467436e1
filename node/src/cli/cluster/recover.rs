//! `lockbox cluster recover-admin`.

use std::path::PathBuf;

use clap::Args;
use lockbox_proto::lockbox::cluster::v1::cluster_service_client::ClusterServiceClient;
use lockbox_proto::lockbox::cluster::v1::{RecoverAdminRequest, RecoverAdminResponse};

use crate::cli::cluster::admin_key::PendingKey;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Format, Record};
use crate::cli::peer::PeerTarget;

/// The new key of the cluster's first administrator.
///
/// For the certificate named admin.lockbox.internal alone. The account gets back what `cluster init`
/// gave it, also when it was suspended or has lost its roles; one that was deleted is replaced.
#[derive(Debug, Args)]
pub(crate) struct RecoverAdmin {
    /// Where to write the administrator's new authorized key. It must not exist.
    ///
    /// The key is made here and its private half is never sent. Until the cluster has answered it
    /// is in FILE.pending; run the command again after a failure, and that one is used.
    #[arg(long, value_name = "FILE")]
    admin_key: PathBuf,
    /// Leaves the administrator's other keys as they are. Without it they are deleted, and every
    /// token that was made with one is worth nothing: a key that is lost may have been found.
    #[arg(long)]
    keep_other_keys: bool,
}

impl RecoverAdmin {
    /// Brings the new key; shows what has become of the others.
    pub(crate) fn run(self, target: &PeerTarget<'_>) -> Result<String, Failure> {
        // ORDER: the key is on disk before the cluster hears of it.
        let key = PendingKey::prepare(&self.admin_key)?;
        let request = RecoverAdminRequest {
            admin_public_key: key.public_key().to_owned(),
            keep_other_keys: self.keep_other_keys,
        };
        // The same public key finds the key that there is, so this may be repeated.
        let answer = target.ask(&request, async |channel, request| {
            ClusterServiceClient::new(channel).recover_admin(request).await
        })?;
        keep(key, answer, target.format)
    }
}

/// Writes the key's file and shows what it does not hold.
fn keep(key: PendingKey, answer: RecoverAdminResponse, format: Format) -> Result<String, Failure> {
    if answer.admin_public_key.trim() != key.public_key().trim() {
        return Err(Failure::new(Exit::Internal, "the server has registered another key"));
    }
    let created_at = answer.created_at.as_ref().map(ToString::to_string).unwrap_or_default();
    key.complete(&answer.admin_key_id, &answer.admin_service_account_id, created_at)?;
    let shown = RecoverAdminResponse { admin_public_key: String::new(), ..answer };
    output::one(format, &Record::of(&shown)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_kept_and_the_ones_that_are_gone_are_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.json");
        let key = PendingKey::prepare(&path).unwrap();
        let answer = RecoverAdminResponse {
            admin_service_account_id: "aje1".to_owned(),
            admin_key_id: "ajk2".to_owned(),
            admin_public_key: key.public_key().to_owned(),
            deleted_key_ids: vec!["ajk1".to_owned()],
            ..RecoverAdminResponse::default()
        };
        let shown = keep(key, answer, Format::Text).unwrap();
        assert!(shown.contains("admin_key_id: ajk2\n") && shown.contains("ajk1"), "{shown}");
        assert!(path.exists());
    }
}

//! `lockbox cluster init`.

use std::path::{Path, PathBuf};

use clap::Args;
use lockbox_core::NodeId;
use lockbox_proto::lockbox::cluster::v1::cluster_service_client::ClusterServiceClient;
use lockbox_proto::lockbox::cluster::v1::{InitRequest, InitResponse, Member};

use crate::cli::cluster::admin_key::PendingKey;
use crate::cli::cluster::member;
use crate::cli::failure::{Exit, Failure};
use crate::cli::local::{Ids, Layout, NodePorts, local_address};
use crate::cli::output::{self, Format, Record};
use crate::cli::peer::PeerTarget;

/// The first members and the first resources.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// A member: ID=PEER_HOST:PORT,API_HOST:PORT. Repeat it for each node, the asked one included.
    #[arg(long = "member", required = true, value_name = "MEMBER", value_parser = member::parse)]
    members: Vec<Member>,
    /// Where to write the administrator's authorized key. It must not exist.
    ///
    /// The key is made here and its private half is never sent. Until the cluster has answered it
    /// is in FILE.pending; run the command again after a failure, and that one is used.
    #[arg(long, value_name = "FILE")]
    admin_key: PathBuf,
    /// Name of the first folder; `default` when not given.
    #[arg(long, value_name = "NAME")]
    folder_name: Option<String>,
    /// Id of the organization; made up when not given, like the next two.
    #[arg(long, value_name = "ID")]
    organization_id: Option<String>,
    /// Id of the first cloud.
    #[arg(long, value_name = "ID")]
    cloud_id: Option<String>,
    /// Id of the first folder.
    #[arg(long, value_name = "ID")]
    folder_id: Option<String>,
}

impl Init {
    /// That of a local cluster.
    pub(crate) fn local(layout: &Layout, ids: &Ids) -> Self {
        let member = |(node_id, ports): (NodeId, NodePorts)| Member {
            node_id,
            peer_address: local_address(ports.peer),
            api_address: local_address(ports.api),
        };
        Self {
            members: layout.nodes().map(member).collect(),
            admin_key: layout.admin_key(),
            folder_name: None,
            organization_id: None,
            cloud_id: Some(ids.cloud_id.clone()),
            folder_id: Some(ids.folder_id.clone()),
        }
    }

    /// Forms the cluster; shows what was made.
    pub(crate) fn run(self, target: &PeerTarget<'_>) -> Result<String, Failure> {
        member::check(&self.members).map_err(Failure::usage)?;
        let path = self.admin_key;
        // ORDER: the key is on disk before the cluster hears of it.
        let key = PendingKey::prepare(&path)?;
        let request = InitRequest {
            members: self.members,
            organization_id: self.organization_id.unwrap_or_default(),
            cloud_id: self.cloud_id.unwrap_or_default(),
            folder_id: self.folder_id.unwrap_or_default(),
            folder_name: self.folder_name.unwrap_or_default(),
            admin_public_key: key.public_key().to_owned(),
        };
        // The same public key gets the same answer, so this may be repeated.
        let answer = target.ask(&request, async |channel, request| {
            ClusterServiceClient::new(channel).init(request).await
        });
        let answer = answer.map_err(|failure| explained(&path, target, failure))?;
        keep(key, answer, target.format)
    }
}

/// What to do where a cluster is formed and its administrator has another key than the one that is
/// brought: who recovered or rotated it has the new one somewhere else.
fn explained(path: &Path, target: &PeerTarget<'_>, failure: Failure) -> Failure {
    let formed = || target.status().is_ok_and(|status| !status.cluster_id.is_empty());
    if failure.exit() != Exit::Refused || !formed() {
        return failure;
    }
    let sentence = format_args!(
        "the cluster is formed already: put its administrator's key at {path}, or write a new one \
         there with lockbox cluster recover-admin --admin-key {path} ({failure})",
        path = path.display()
    );
    Failure::new(failure.exit(), sentence)
}

/// Writes the key's file and shows what it does not hold.
fn keep(key: PendingKey, answer: InitResponse, format: Format) -> Result<String, Failure> {
    if answer.admin_public_key.trim() != key.public_key().trim() {
        return Err(Failure::new(Exit::Internal, "the server has registered another key"));
    }
    let created_at = answer.created_at.as_ref().map(ToString::to_string).unwrap_or_default();
    key.complete(&answer.admin_key_id, &answer.admin_service_account_id, created_at)?;
    let shown = InitResponse { admin_public_key: String::new(), ..answer };
    output::one(format, &Record::of(&shown)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_kept_only_when_it_is_the_registered_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.json");
        let key = PendingKey::prepare(&path).unwrap();
        let mut answer = InitResponse {
            cluster_id: "lbc1".to_owned(),
            cloud_id: "b1g1".to_owned(),
            folder_id: "b1g2".to_owned(),
            admin_service_account_id: "aje1".to_owned(),
            admin_key_id: "ajk1".to_owned(),
            admin_public_key: "other".to_owned(),
            ..InitResponse::default()
        };
        assert!(keep(key, answer.clone(), Format::Text).is_err());
        assert!(!path.exists());

        let key = PendingKey::prepare(&path).unwrap();
        answer.admin_public_key = key.public_key().to_owned();
        let shown = keep(key, answer, Format::Text).unwrap();
        let expected = "cluster_id: lbc1\ncloud_id: b1g1\nfolder_id: b1g2\n\
                        admin_service_account_id: aje1\nadmin_key_id: ajk1\n";
        assert_eq!(shown, expected);
        assert!(path.exists());
    }
}

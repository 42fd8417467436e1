//! What an operator does: the commands of `lockbox cluster` and `lockbox audit`, as programs.
//!
//! Knows their names and what they print, and nothing of how they work. Every call has a deadline.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::files::Files;
use super::part::Part;
use super::program::finish;

/// The group of most commands.
const CLUSTER: &str = "cluster";

/// The operator.
#[derive(Debug, Clone)]
pub struct Admin {
    lockbox: PathBuf,
    files: Files,
}

/// A member as the node that was asked sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// Its id.
    #[serde(deserialize_with = "number")]
    pub node_id: u16,
    /// Whether it votes.
    #[serde(default)]
    pub voter: bool,
}

/// What a node says of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// The leader that it knows; 0 for none.
    #[serde(default, deserialize_with = "number")]
    pub leader_id: u16,
    /// The members that it knows.
    #[serde(default)]
    pub members: Vec<Member>,
}

impl Status {
    /// The members that vote.
    #[must_use]
    pub fn voters(&self) -> Vec<u16> {
        self.members.iter().filter(|member| member.voter).map(|member| member.node_id).collect()
    }
}

/// Protobuf's JSON writes large numbers as texts.
fn number<'de, D: serde::Deserializer<'de>>(source: D) -> Result<u16, D::Error> {
    let value = Value::deserialize(source)?;
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let number = number.and_then(|number| u16::try_from(number).ok());
    number.ok_or_else(|| serde::de::Error::custom("is not the id of a node"))
}

impl Admin {
    pub(crate) fn new(lockbox: PathBuf, files: Files) -> Self {
        Self { lockbox, files }
    }

    /// Forms the cluster out of these fresh nodes.
    ///
    /// # Errors
    /// What the command complains.
    pub(crate) fn init(&self, nodes: &[u16]) -> Result<()> {
        let ids = self.files.ids()?;
        let mut arguments = vec!["init".to_owned()];
        let key = self.files.admin_key();
        for (flag, value) in [
            ("--admin-key", key.to_string_lossy().as_ref()),
            ("--cloud-id", &ids.cloud_id),
            ("--folder-id", &ids.folder_id),
        ] {
            arguments.extend([flag.to_owned(), value.to_owned()]);
        }
        for node in nodes {
            arguments.extend(["--member".to_owned(), self.member(*node)]);
        }
        let first = *nodes.first().context("the cluster has no node")?;
        self.run(first, "cluster", &arguments, "60s", "-1").map(drop)
    }

    /// A member as `lockbox cluster` is told of it.
    #[must_use]
    pub fn member(&self, node: u16) -> String {
        let (part, network) = (Part::Node(node), self.files.network());
        format!("{node}={},{}", part.known_peer(network), part.api(network))
    }

    /// What a node says of the cluster.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub fn status(&self, node: u16) -> Result<Status> {
        let text = self.command(node, &["status", "--format", "json"])?;
        serde_json::from_str(&text).with_context(|| format!("the status of node {node}"))
    }

    /// Runs a command of `lockbox cluster` against a node.
    ///
    /// # Errors
    /// What the command complains.
    pub fn command(&self, node: u16, arguments: &[&str]) -> Result<String> {
        self.run(node, "cluster", &owned(arguments), "10s", "0")
    }

    /// Runs a command of `lockbox audit` that asks a node.
    ///
    /// # Errors
    /// What the command complains.
    pub fn audit(&self, node: u16, arguments: &[&str]) -> Result<String> {
        self.run(node, "audit", &owned(arguments), "10s", "3")
    }

    /// Runs a command that changes the members, which waits for a node to catch up.
    ///
    /// # Errors
    /// What the command complains. The change may be done all the same, or be done later.
    pub fn change(&self, node: u16, arguments: &[&str]) -> Result<String> {
        self.run(node, "cluster", &owned(arguments), "40s", "0")
    }

    /// The heads of the nodes' audits that the cluster keeps, as `lockbox audit verify` reads them.
    ///
    /// # Errors
    /// What the command complains.
    pub fn audit_heads(&self, node: u16) -> Result<String> {
        self.audit(node, &["heads", "--format", "json"])
    }

    /// Whether this `lockbox` has the command.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        knows(&self.lockbox, name)
    }

    pub(super) fn run(
        &self,
        node: u16,
        group: &str,
        arguments: &[String],
        timeout: &str,
        retry: &str,
    ) -> Result<String> {
        let part = Part::Node(node);
        let mut command = Command::new(&self.lockbox);
        command
            .arg(group)
            .args(arguments)
            .args([
                "--endpoint",
                &part.peer(self.files.network()),
                "--server-name",
                &part.server_name(),
            ])
            .arg("--ca")
            .arg(self.files.ca())
            .arg("--certificate")
            .arg(self.files.certificate("admin"))
            .arg("--key")
            .arg(self.files.key("admin"))
            .args(["--timeout", timeout, "--retry", retry])
            .env_clear();
        finish(command, "")
    }
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).collect()
}

/// Whether a `lockbox` has a command of `lockbox cluster`.
#[must_use]
pub fn knows(lockbox: &Path, name: &str) -> bool {
    let mut command = Command::new(lockbox);
    command.args([CLUSTER, name, "--help"]).env_clear();
    finish(command, "").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_as_protobuf_writes_it() {
        let text = r#"{"node_id": "1", "leader_id": "2", "members": [
            {"node_id": "1", "voter": true, "matched_index": "9"}, {"node_id": "3"}]}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        assert_eq!((status.leader_id, status.voters()), (2, vec![1]));
        assert_eq!(status.members.len(), 2);
        let text = r#"{"node_id": "1", "members": [{"node_id": "many"}]}"#;
        assert!(serde_json::from_str::<Status>(text).is_err());
    }
}

//! `lockbox audit heads`, and heads as the other commands take them.

use std::path::Path;

use clap::Args;
use lockbox_core::NodeId;
use lockbox_platform::audit::{ChainHead, LineHash};
use lockbox_proto::lockbox::cluster::v1 as wire;
use serde::Deserialize;
use wire::admin_service_client::AdminServiceClient;

use crate::cli::environment::Environment;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Record, Table};
use crate::cli::peer::{PeerFlags, PeerTarget};

/// `lockbox audit heads`.
#[derive(Debug, Args)]
pub(super) struct Heads {
    /// Those of this node alone.
    #[arg(long, value_name = "ID", default_value_t = 0, hide_default_value = true)]
    node: NodeId,
    #[command(flatten)]
    peer: PeerFlags,
}

impl Heads {
    /// Asks for them and prints them.
    pub(super) fn run(&self, environment: &Environment) -> Result<(), Failure> {
        let target = self.peer.resolve(environment)?;
        let heads = ask(&target, self.node)?;
        let records: Result<Vec<_>, Failure> = heads.iter().map(Record::of).collect();
        let text = output::many(target.format, &records?, || table(&heads))?;
        output::write(text.as_bytes())
    }
}

/// The heads that the cluster has of a node, or of all with 0.
pub(super) fn ask(
    target: &PeerTarget<'_>,
    node_id: NodeId,
) -> Result<Vec<wire::AuditHead>, Failure> {
    let request = wire::ListAuditHeadsRequest { node_id };
    let answer = target.ask(&request, async |channel, request| {
        AdminServiceClient::new(channel).list_audit_heads(request).await
    })?;
    Ok(answer.heads)
}

fn table(heads: &[wire::AuditHead]) -> Table {
    let row = |head: &wire::AuditHead| {
        vec![
            head.node_id.to_string(),
            head.sequence.to_string(),
            head.hash.clone(),
            head.index.to_string(),
            if head.abandoned { "yes" } else { "no" }.to_owned(),
        ]
    };
    Table {
        columns: vec!["NODE", "RECORD", "HASH", "LOG INDEX", "ABANDONED"],
        rows: heads.iter().map(row).collect(),
    }
}

/// A head of some node, from wherever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeHead {
    pub(super) node_id: NodeId,
    pub(super) head: ChainHead,
}

impl NodeHead {
    /// A head as the cluster tells it.
    pub(super) fn of_wire(head: &wire::AuditHead) -> Result<Self, Failure> {
        Self::new(head.node_id, head.sequence, &head.hash)
    }

    fn new(node_id: NodeId, sequence: u64, hash: &str) -> Result<Self, Failure> {
        let hash = hash.parse::<LineHash>().map_err(|error| {
            let what = format_args!("the hash of record {sequence} of node {node_id} {error}");
            Failure::usage(what)
        })?;
        Ok(Self { node_id, head: ChainHead { sequence, hash } })
    }
}

/// Reads what `audit heads --format json` has printed.
pub(super) fn read_file(path: &Path) -> Result<Vec<NodeHead>, Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::usage(format_args!("cannot read the heads in {}: {error}", path.display()))
    };
    let text = std::fs::read(path).map_err(|error| wrong(&error))?;
    parse(&text).map_err(|error| wrong(&error))
}

fn parse(text: &[u8]) -> Result<Vec<NodeHead>, Failure> {
    /// Zeros are left out where the heads are printed.
    #[derive(Deserialize)]
    struct Printed {
        #[serde(default)]
        node_id: NodeId,
        #[serde(default)]
        sequence: u64,
        hash: String,
    }
    let printed: Vec<Printed> = serde_json::from_slice(text).map_err(Failure::usage)?;
    let head = |head: Printed| NodeHead::new(head.node_id, head.sequence, &head.hash);
    printed.into_iter().map(head).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;

    #[test]
    fn what_is_printed_is_read() {
        let hash = LineHash::of(b"a line");
        let head = |node_id, sequence| wire::AuditHead {
            node_id,
            sequence,
            hash: hash.to_string(),
            index: 3,
            ..Default::default()
        };
        let heads = [head(1, 0), head(2, 7)];
        let records: Vec<_> = heads.iter().map(|head| Record::of(head).unwrap()).collect();
        let text = output::many(Format::Json, &records, || table(&heads)).unwrap();
        let read = parse(text.as_bytes()).unwrap();
        let expected = |node_id, sequence| NodeHead { node_id, head: ChainHead { sequence, hash } };
        assert_eq!(read, [expected(1, 0), expected(2, 7)]);
        let shown = table(&heads).render();
        assert_eq!(read, heads.map(|head| NodeHead::of_wire(&head).unwrap()));
        assert!(shown.contains(&hash.to_string()), "{shown}");
    }

    #[test]
    fn what_is_no_list_of_heads_is_refused() {
        for wrong in ["", "{}", "[{}]", "[{\"node_id\":1,\"sequence\":2,\"hash\":\"ab\"}]"] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}

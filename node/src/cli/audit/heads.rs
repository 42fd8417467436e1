//! `lockbox audit heads`, and heads as the other commands take them. Those of the KMS are among
//! them, as those of a node that cannot be ([`KMS_AUDIT_ID`]).

use std::path::Path;

use clap::Args;
use lockbox_core::{KMS_AUDIT_ID, LogTime, NodeId};
use lockbox_platform::audit::{ChainHead, HeadStatement, LineHash, SIGNER_BYTES};
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
    /// Those of the KMS alone.
    #[arg(long, conflicts_with = "node")]
    kms: bool,
    #[command(flatten)]
    peer: PeerFlags,
}

impl Heads {
    /// Asks for them and prints them.
    pub(super) fn run(&self, environment: &Environment) -> Result<(), Failure> {
        let target = self.peer.resolve(environment)?;
        let heads = ask(&target, if self.kms { KMS_AUDIT_ID } else { self.node })?;
        let records: Result<Vec<_>, Failure> = heads.iter().map(Record::of).collect();
        let text = output::many(target.format, &records?, || table(&heads))?;
        output::write(text.as_bytes())
    }
}

/// Whose audit it is, within a sentence.
pub(super) fn whose(node_id: NodeId) -> String {
    match node_id {
        KMS_AUDIT_ID => "the KMS".to_owned(),
        node_id => format!("node {node_id}"),
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
            match head.node_id {
                KMS_AUDIT_ID => "kms".to_owned(),
                node_id => node_id.to_string(),
            },
            head.sequence.to_string(),
            head.hash.clone(),
            head.index.to_string(),
            if head.abandoned { "yes" } else { "no" }.to_owned(),
            head.signer.clone(),
        ]
    };
    Table {
        columns: vec!["NODE", "RECORD", "HASH", "LOG INDEX", "ABANDONED", "SIGNED BY"],
        rows: heads.iter().map(row).collect(),
    }
}

/// The half of a key for heads that verifies: of the cluster's, or of the KMS's.
pub(super) type Signer = [u8; SIGNER_BYTES];

/// Reads such a half as it is printed.
pub(super) fn parse_signer(text: &str) -> Result<Signer, String> {
    let mut signer = [0; SIGNER_BYTES];
    let read = hex::decode_to_slice(text, &mut signer);
    read.map_err(|_no_digits| format!("is no key in {} hexadecimal digits", 2 * SIGNER_BYTES))?;
    Ok(signer)
}

/// A head of some node, from wherever it is. A signature that it has does fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeHead {
    pub(super) node_id: NodeId,
    pub(super) head: ChainHead,
    /// Nothing when it is not signed.
    pub(super) signer: Option<Signer>,
    /// The last record that retention has removed.
    pub(super) removed_through: Option<u64>,
    /// The node did not go on from there.
    pub(super) abandoned: bool,
}

impl NodeHead {
    /// A head as the cluster tells it.
    ///
    /// # Errors
    /// When it has no hash, or another signature than one of what it says.
    pub(super) fn of_wire(told: &wire::AuditHead) -> Result<Self, Failure> {
        let wire::AuditHead { node_id, sequence, abandoned, removed_before, .. } = *told;
        let removed_through = removed_before.checked_sub(1);
        let wrong = |what: &dyn std::fmt::Display| {
            Failure::usage(format_args!("record {sequence} of {}: {what}", whose(node_id)))
        };
        let hash = told.hash.parse::<LineHash>();
        let hash = hash.map_err(|error| wrong(&format_args!("the hash {error}")))?;
        let head = ChainHead { sequence, hash };
        if told.signer.is_empty() && told.signature.is_empty() {
            return Ok(Self { node_id, head, signer: None, removed_through, abandoned });
        }
        let signer = parse_signer(&told.signer);
        let signer = signer.map_err(|error| wrong(&format_args!("the signer {error}")))?;
        let signature = hex::decode(&told.signature);
        let signature =
            signature.map_err(|error| wrong(&format_args!("the signature: {error}")))?;
        let told_at = LogTime::from_ms(told.told_at_ms);
        let cluster_id = &told.cluster_id;
        let said = HeadStatement { cluster_id, node_id, head, told_at, removed_through };
        if !said.is_signed(&signer, &signature) {
            return Err(wrong(&"the signature is not one of what is said of it"));
        }
        Ok(Self { node_id, head, signer: Some(signer), removed_through, abandoned })
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
        #[serde(default)]
        told_at_ms: u64,
        #[serde(default)]
        abandoned: bool,
        #[serde(default)]
        cluster_id: String,
        #[serde(default)]
        signer: String,
        #[serde(default)]
        signature: String,
        #[serde(default)]
        removed_before: u64,
    }
    let printed: Vec<Printed> = serde_json::from_slice(text).map_err(Failure::usage)?;
    let head = |printed: Printed| {
        NodeHead::of_wire(&wire::AuditHead {
            node_id: printed.node_id,
            sequence: printed.sequence,
            hash: printed.hash,
            told_at_ms: printed.told_at_ms,
            abandoned: printed.abandoned,
            cluster_id: printed.cluster_id,
            signer: printed.signer,
            signature: printed.signature,
            removed_before: printed.removed_before,
            ..Default::default()
        })
    };
    printed.into_iter().map(head).collect()
}

#[cfg(test)]
mod tests {
    use lockbox_platform::audit::HeadSigner;
    use lockbox_platform::system::SystemRandom;
    use lockbox_platform::token::generate_seed;

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
        let heads = [head(1, 0), head(KMS_AUDIT_ID, 7)];
        let records: Vec<_> = heads.iter().map(|head| Record::of(head).unwrap()).collect();
        let text = output::many(Format::Json, &records, || table(&heads)).unwrap();
        let read = parse(text.as_bytes()).unwrap();
        let expected = |node_id, sequence| {
            let head = ChainHead { sequence, hash };
            let (signer, removed_through, abandoned) = (None, None, false);
            NodeHead { node_id, head, signer, removed_through, abandoned }
        };
        assert_eq!(read, [expected(1, 0), expected(KMS_AUDIT_ID, 7)]);
        let shown = table(&heads).render();
        assert!(shown.lines().any(|line| line.starts_with("| kms ")), "{shown}");
        assert_eq!(read, heads.map(|head| NodeHead::of_wire(&head).unwrap()));
        assert!(shown.contains(&hash.to_string()), "{shown}");
    }

    /// Who carries heads elsewhere cannot change them on the way.
    #[test]
    fn a_head_that_is_not_what_was_signed_is_refused() {
        let signer = HeadSigner::from_seed(&generate_seed(&SystemRandom)).unwrap();
        let head = ChainHead { sequence: 7, hash: LineHash::of(b"a line") };
        let told_at = LogTime::from_ms(9);
        let removed_through = Some(4);
        let cluster_id = "cluster";
        let said = HeadStatement { cluster_id, node_id: 2, head, told_at, removed_through };
        let told = wire::AuditHead {
            node_id: 2,
            sequence: 7,
            hash: head.hash.to_string(),
            told_at_ms: 9,
            index: 3,
            cluster_id: "cluster".to_owned(),
            signer: hex::encode(signer.public_key()),
            signature: hex::encode(signer.sign(&said)),
            abandoned: true,
            removed_before: 5,
            ..Default::default()
        };
        let printed = |told: &wire::AuditHead| {
            let records = [Record::of(told).unwrap()];
            let heads = std::slice::from_ref(told);
            let text = output::many(Format::Json, &records, || table(heads)).unwrap();
            parse(text.as_bytes())
        };
        let (signer, abandoned) = (Some(signer.public_key()), true);
        let signed = NodeHead { node_id: 2, head, signer, removed_through, abandoned };
        assert_eq!(printed(&told), Ok(vec![signed]));
        let other = HeadSigner::from_seed(&generate_seed(&SystemRandom)).unwrap();
        let changes: [&dyn Fn(&mut wire::AuditHead); 10] = [
            &|told| told.node_id = 3,
            &|told| told.sequence = 8,
            &|told| told.hash = LineHash::of(b"another line").to_string(),
            &|told| told.told_at_ms = 0,
            &|told| told.cluster_id = "another".to_owned(),
            &|told| told.signer = hex::encode(other.public_key()),
            &|told| told.signer.clear(),
            &|told| told.removed_before = 6,
            &|told| told.removed_before = 0,
            &|told| told.signature.truncate(126),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = told.clone();
            change(&mut changed);
            assert!(printed(&changed).is_err(), "change {number}");
        }
    }

    #[test]
    fn what_is_no_list_of_heads_is_refused() {
        for wrong in ["", "{}", "[{}]", "[{\"node_id\":1,\"sequence\":2,\"hash\":\"ab\"}]"] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}

//! `lockbox audit verify`.

use std::path::PathBuf;

use clap::Args;
use lockbox_core::NodeId;
use lockbox_platform::audit::verify::{Findings, verify};
use lockbox_platform::audit::{AuditFiles, ChainHead};
use lockbox_platform::exit::ExitCode;

use super::files::{find, unread};
use super::heads::{self, NodeHead, Signer};
use crate::cli::environment::Environment;
use crate::cli::failure::{Failure, one_line};
use crate::cli::output;
use crate::cli::peer::PeerFlags;
use crate::config::Config;

/// `lockbox audit verify`.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The data directory of a node or of the KMS, or the file that it writes its audit to; by
    /// default the one that --config names.
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// Compare with the heads in this file, which `lockbox audit heads --format json` has printed.
    #[arg(long, value_name = "FILE", conflicts_with = "cluster")]
    heads: Option<PathBuf>,
    /// Compare with the heads that the cluster has now.
    #[arg(long)]
    cluster: bool,
    /// The node whose audit it is; by default the one that --config names, or the only one that
    /// there are heads of.
    #[arg(long, value_name = "ID")]
    node: Option<NodeId>,
    /// Count only heads that this key of the cluster has signed, as `lockbox audit heads` has shown
    /// it at a time when the cluster was trusted.
    #[arg(long, value_name = "KEY", value_parser = heads::parse_signer)]
    signer: Option<Signer>,
    #[command(flatten)]
    peer: PeerFlags,
}

impl Verify {
    /// Reads everything and says what is wrong.
    pub(super) fn run(&self, environment: &Environment) -> Result<(), Failure> {
        let config = self.peer.load_config(environment)?;
        let files = self.files(config.as_ref())?;
        // ORDER: before the files are read, which only grow.
        let known = self.known(environment)?;
        let told = known.as_ref().map_or(0, Vec::len);
        let known = self.signed(known)?;
        let left_out = told - known.as_ref().map_or(0, Vec::len);
        let node = self.node.or(config.map(|config| config.node_id));
        let heads = match &known {
            None => Vec::new(),
            Some(known) => of_one_node(known, node)?,
        };
        let findings = verify(&files, &heads).map_err(|error| unread(files.active(), &error))?;
        let mut text = report(&findings, known.is_some().then_some(heads.len()));
        if left_out > 0 {
            text += &format!("{left_out} heads are not signed by that key, and do not count\n");
        }
        output::write(text.as_bytes())?;
        match findings.problems_total {
            0 => Ok(()),
            problems => {
                let sentence =
                    format_args!("the audit is not what was written: {problems} problems");
                Err(Failure::server(ExitCode::CorruptLog, sentence))
            }
        }
    }

    fn files(&self, config: Option<&Config>) -> Result<AuditFiles, Failure> {
        match (&self.path, config) {
            (Some(path), _) => find(path),
            (None, Some(config)) => find(&config.audit_path()),
            (None, None) => Err(Failure::usage("which audit is not known: give PATH, or --config")),
        }
    }

    /// Of these heads those that count.
    fn signed(&self, known: Option<Vec<NodeHead>>) -> Result<Option<Vec<NodeHead>>, Failure> {
        match (known, self.signer) {
            (known, None) => Ok(known),
            (None, Some(_)) => {
                Err(Failure::usage("--signer judges heads: give --heads or --cluster"))
            }
            (Some(mut known), Some(signer)) => {
                known.retain(|head| head.signer == Some(signer));
                Ok(Some(known))
            }
        }
    }

    /// The heads to compare with; nothing when none are asked for.
    fn known(&self, environment: &Environment) -> Result<Option<Vec<NodeHead>>, Failure> {
        if let Some(path) = &self.heads {
            return heads::read_file(path).map(Some);
        }
        if !self.cluster {
            return Ok(None);
        }
        let told = heads::ask(&self.peer.resolve(environment)?, 0)?;
        let heads: Result<Vec<_>, Failure> = told.iter().map(NodeHead::of_wire).collect();
        heads.map(Some)
    }
}

/// The heads of one node: of the one that is meant, or of the only one that there is.
fn of_one_node(known: &[NodeHead], node: Option<NodeId>) -> Result<Vec<ChainHead>, Failure> {
    let node = match (node, known.first()) {
        (Some(node), _) => node,
        (None, Some(first)) if known.iter().all(|known| known.node_id == first.node_id) => {
            first.node_id
        }
        (None, Some(_)) => {
            let sentence = "the heads are of several nodes: say whose audit it is with --node";
            return Err(Failure::usage(sentence));
        }
        (None, None) => return Err(Failure::usage("there are no heads to compare with")),
    };
    let own = known.iter().filter(|known| known.node_id == node);
    let heads: Vec<_> = own.map(|own| own.head).collect();
    if heads.is_empty() {
        return Err(Failure::usage(format_args!("there are no heads of node {node}")));
    }
    Ok(heads)
}

/// What was found, and what it was compared with.
fn report(findings: &Findings, heads: Option<usize>) -> String {
    let mut lines: Vec<String> =
        findings.problems.iter().map(|p| one_line(&p.to_string())).collect();
    let told = lines.len() as u64;
    if told < findings.problems_total {
        lines.push(format!("and {} more problems", findings.problems_total - told));
    }
    lines.push(match (findings.first, findings.last) {
        (Some(first), Some(last)) => format!(
            "records {first} to {} in {} files; the hash of the last one is {}",
            last.sequence, findings.files, last.hash
        ),
        (_, _) => format!("no record in {} files", findings.files),
    });
    if findings.unchained > 0 {
        lines.push(format!(
            "{} lines at the begin are of an earlier build: their loss would not show",
            findings.unchained
        ));
    }
    if findings.unfinished_bytes > 0 {
        lines.push(format!(
            "{} bytes behind the last record: one is being written, or a crash has torn it",
            findings.unfinished_bytes
        ));
    }
    lines.push(match heads {
        Some(heads) => format!("{} of {heads} anchored records are there", findings.heads_found),
        None => "compared with no heads: a cut at the end or a chain that was made anew would not \
                 show"
            .to_owned(),
    });
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use lockbox_platform::audit::LineHash;

    use super::*;

    fn head(node_id: NodeId, sequence: u64) -> NodeHead {
        let head = ChainHead { sequence, hash: LineHash::of(b"a line") };
        NodeHead { node_id, head, signer: None }
    }

    #[test]
    fn heads_are_of_the_node_that_is_meant() {
        let known = [head(1, 4), head(2, 7), head(1, 9)];
        let numbers = |known: &[NodeHead], node| {
            let heads = of_one_node(known, node);
            heads.map(|heads| heads.iter().map(|head| head.sequence).collect::<Vec<u64>>())
        };
        assert_eq!(numbers(&known, Some(1)), Ok(vec![4, 9]));
        assert_eq!(numbers(&known[..1], None), Ok(vec![4]));
        for (known, node) in [(&known[..], None), (&known[..], Some(3)), (&known[..0], None)] {
            assert!(numbers(known, node).is_err());
        }
    }

    #[test]
    fn the_report_says_what_was_read_and_compared() {
        let mut findings =
            Findings { files: 2, unchained: 3, unfinished_bytes: 5, ..Default::default() };
        assert!(report(&findings, None).starts_with("no record in 2 files\n3 lines at the begin"));
        findings.first = Some(0);
        findings.last = Some(head(1, 7).head);
        findings.problems_total = 4;
        let text = report(&findings, Some(6));
        assert!(text.starts_with("and 4 more problems\nrecords 0 to 7 in 2 files; "), "{text}");
        assert!(text.ends_with("0 of 6 anchored records are there\n"), "{text}");
    }
}

//! `lockbox audit verify`.

use std::path::PathBuf;

use clap::Args;
use lockbox_core::{KMS_AUDIT_ID, NodeId};
use lockbox_platform::audit::verify::{Findings, verify_removed};
use lockbox_platform::audit::{AuditFiles, ChainHead};
use lockbox_platform::exit::ExitCode;
use lockbox_raft::domain::audit_head::ABANDONED_MAX;

use super::files::{find, unread};
use super::heads::{self, NodeHead, Signer, whose};
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
    /// It is the audit of the KMS.
    #[arg(long, conflicts_with = "node")]
    kms: bool,
    /// Count only heads that this key has signed, the cluster's or the KMS's, as `lockbox audit
    /// heads` has shown it at a time when the cluster was trusted.
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
        let of_kms = self.kms.then_some(KMS_AUDIT_ID);
        let node = of_kms.or(self.node).or(config.map(|config| config.node_id));
        let Compared { findings, known, left_out } = self.compare(environment, &files, node)?;
        let mut text = report(&findings, known.as_ref());
        if left_out > 0 {
            text += &format!("{left_out} heads are not signed by that key, and do not count\n");
        }
        output::write(text.as_bytes())?;
        let forgotten = u64::from(known.is_some_and(|known| known.may_lack_abandoned()));
        match findings.problems_total + forgotten {
            0 => Ok(()),
            problems => {
                let sentence =
                    format_args!("the audit is not what was written: {problems} problems");
                Err(Failure::server(ExitCode::CorruptLog, sentence))
            }
        }
    }

    /// Reads the files and compares them with the heads.
    fn compare(
        &self,
        environment: &Environment,
        files: &AuditFiles,
        node: Option<NodeId>,
    ) -> Result<Compared, Failure> {
        // ORDER: before the files are read, which grow.
        let mut told = self.told(environment, node)?;
        loop {
            let (heads, removed) = match &told.0 {
                None => (&[][..], None),
                Some(known) => (known.heads.as_slice(), known.removed_through),
            };
            let findings = verify_removed(files, heads, removed);
            let findings = findings.map_err(|error| unread(files.active(), &error))?;
            if self.cluster && findings.problems_total > 0 {
                // Retention may have taken a file meanwhile: never one before the heads say so.
                let again = self.told(environment, node)?;
                if again.0.as_ref().and_then(|known| known.removed_through) > removed {
                    told = again;
                    continue;
                }
            }
            let (known, left_out) = told;
            return Ok(Compared { findings, known, left_out });
        }
    }

    /// The heads of the node, or of the KMS, that count, if any are asked for, and how many do not.
    fn told(
        &self,
        environment: &Environment,
        node: Option<NodeId>,
    ) -> Result<(Option<Known>, usize), Failure> {
        let mut known = self.known(environment)?;
        if let (Some(known), Some(node)) = (&mut known, node) {
            known.retain(|head| head.node_id == node);
        }
        let told = known.as_ref().map_or(0, Vec::len);
        let known = self.signed(known)?;
        let left_out = told - known.as_ref().map_or(0, Vec::len);
        let known = known.map(|known| of_one_node(&known, node)).transpose()?;
        Ok((known, left_out))
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

/// What was found, and with which heads.
struct Compared {
    findings: Findings,
    known: Option<Known>,
    left_out: usize,
}

/// What the heads of one node say.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    heads: Vec<ChainHead>,
    /// The last record that retention has removed.
    removed_through: Option<u64>,
    /// How many of them the node did not go on from.
    abandoned: usize,
}

impl Known {
    /// No more of them are remembered, so that further ones are not known.
    const fn may_lack_abandoned(&self) -> bool {
        self.abandoned >= ABANDONED_MAX
    }
}

/// The heads of one audit: of the node that is meant, or of the only node that there is. The KMS is
/// meant only where it is named.
fn of_one_node(known: &[NodeHead], node: Option<NodeId>) -> Result<Known, Failure> {
    let mut of_nodes = known.iter().filter(|known| known.node_id != KMS_AUDIT_ID);
    let node = match (node, of_nodes.next()) {
        (Some(node), _) => node,
        (None, Some(first)) if of_nodes.all(|known| known.node_id == first.node_id) => {
            first.node_id
        }
        (None, Some(_)) => {
            let sentence =
                "the heads are of several nodes: say whose audit it is with --node or --kms";
            return Err(Failure::usage(sentence));
        }
        (None, None) if known.is_empty() => {
            return Err(Failure::usage("there are no heads to compare with"));
        }
        (None, None) => {
            return Err(Failure::usage("the heads are of the KMS: say that it is meant by --kms"));
        }
    };
    let own: Vec<&NodeHead> = known.iter().filter(|known| known.node_id == node).collect();
    if own.is_empty() {
        return Err(Failure::usage(format_args!("there are no heads of {}", whose(node))));
    }
    Ok(Known {
        heads: own.iter().map(|own| own.head).collect(),
        removed_through: own.iter().filter_map(|own| own.removed_through).max(),
        abandoned: own.iter().filter(|own| own.abandoned).count(),
    })
}

/// What was found, and what it was compared with.
fn report(findings: &Findings, known: Option<&Known>) -> String {
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
    if let Some(last) = findings.removed_as_files_say {
        lines.push(format!(
            "the records up to {last} are missing; that retention removed them is what the files \
             say, which whoever removed them could have written"
        ));
    }
    match known {
        Some(known) => {
            if known.may_lack_abandoned() {
                lines.push(format!(
                    "{ABANDONED_MAX} heads were abandoned: of further ones nothing is known"
                ));
            }
            let (found, heads) = (findings.heads_found, known.heads.len());
            lines.push(format!("{found} of {heads} anchored records are there"));
        }
        None => lines.push(
            "compared with no heads: a cut at the end or a chain that was made anew would not show"
                .to_owned(),
        ),
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use lockbox_platform::audit::LineHash;

    use super::*;

    fn head(node_id: NodeId, sequence: u64) -> NodeHead {
        let head = ChainHead { sequence, hash: LineHash::of(b"a line") };
        NodeHead { node_id, head, signer: None, removed_through: None, abandoned: false }
    }

    #[test]
    fn heads_are_of_the_node_that_is_meant() {
        let mut known = [head(1, 4), head(2, 7), head(1, 9)];
        known[1].removed_through = Some(5);
        let numbers = |known: &[NodeHead], node| {
            let known = of_one_node(known, node);
            known.map(|known| known.heads.iter().map(|head| head.sequence).collect::<Vec<u64>>())
        };
        assert_eq!(numbers(&known, Some(1)), Ok(vec![4, 9]));
        assert_eq!(numbers(&known[..1], None), Ok(vec![4]));
        for (known, node) in [(&known[..], None), (&known[..], Some(3)), (&known[..0], None)] {
            assert!(numbers(known, node).is_err());
        }
        let with_kms = [head(1, 4), head(KMS_AUDIT_ID, 8)];
        assert_eq!(numbers(&with_kms, None), Ok(vec![4]));
        assert_eq!(numbers(&with_kms, Some(KMS_AUDIT_ID)), Ok(vec![8]));
        assert!(numbers(&with_kms[1..], None).is_err());
        let removed = |node| of_one_node(&known, Some(node)).map(|known| known.removed_through);
        assert_eq!((removed(1), removed(2)), (Ok(None), Ok(Some(5))));
    }

    #[test]
    fn the_report_says_what_was_read_and_compared() {
        let mut findings =
            Findings { files: 2, unchained: 3, unfinished_bytes: 5, ..Default::default() };
        assert!(report(&findings, None).starts_with("no record in 2 files\n3 lines at the begin"));
        findings.first = Some(0);
        findings.last = Some(head(1, 7).head);
        findings.problems_total = 4;
        let heads = vec![head(1, 7).head; 6];
        let mut known = Known { heads, removed_through: None, abandoned: 1 };
        let text = report(&findings, Some(&known));
        assert!(text.starts_with("and 4 more problems\nrecords 0 to 7 in 2 files; "), "{text}");
        assert!(text.ends_with("\n0 of 6 anchored records are there\n"), "{text}");
        known.abandoned = ABANDONED_MAX;
        let text = report(&findings, Some(&known));
        assert!(text.contains("\n32 heads were abandoned: of further ones nothing"), "{text}");
    }

    #[test]
    fn the_report_says_whom_it_believes_about_retention() {
        let findings = Findings { removed_as_files_say: Some(9), ..Default::default() };
        let text = report(&findings, None);
        assert!(text.contains("\nthe records up to 9 are missing; that retention"), "{text}");
        assert!(!report(&Findings::default(), None).contains("retention"));
    }
}

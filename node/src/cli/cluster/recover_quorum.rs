//! `lockbox cluster recover-quorum`: on the machine of a survivor that does not run.
//!
//! Shows what may be lost, and refuses while there is anything better to do: while a majority of
//! the voters is there, while another survivor has more of the log, and when the cluster has gone
//! on elsewhere already. Only with the entry that was shown does it change anything.

use std::time::Duration;

use clap::Args;
use lockbox_core::NodeId;
use lockbox_proto::lockbox::cluster::v1::cluster_service_client::ClusterServiceClient;
use lockbox_proto::lockbox::cluster::v1::{MemberStatus, StatusRequest, StatusResponse};
use lockbox_raft::StorageError;
use lockbox_raft::store::{RocksEngines, Survivor, begin_epoch, survey};
use serde::Serialize;

use crate::cli::connect::TryFlags;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output;
use crate::cli::peer::PeerTarget;
use crate::config::Config;
use crate::convert::timestamp;

/// How long a member may take to answer: one that is there does at once.
const MEMBER_TIMEOUT: Duration = Duration::from_secs(3);

/// A cluster that has lost most of its voters for good goes on from one of them.
///
/// Run it where the survivor's data are, with --config and the node stopped. Without
/// --accept-loss-after it changes nothing: it says what this node has, who else answers, and what
/// may be lost. All other members are given up for ever: their ids are never used again, and should
/// they come back they stop when they meet this node.
#[derive(Debug, Args)]
pub(crate) struct RecoverQuorum {
    /// Gives up whatever was acknowledged beyond this entry of the log, which must be the last one
    /// of this node, as the command has shown it.
    #[arg(long, value_name = "ENTRY")]
    accept_loss_after: Option<u64>,
}

/// What is shown.
#[derive(Debug, Serialize)]
struct Report {
    cluster_id: String,
    node_id: NodeId,
    epoch: u64,
    last_entry: u64,
    committed_entry: u64,
    applied_entry: u64,
    /// The time of the entry that was applied last.
    applied_at: String,
    members: Vec<Asked>,
    what_is_lost: String,
    what_is_uncertain: String,
    /// Present once it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    new_epoch: Option<u64>,
    next: String,
}

/// A member, and what came of asking it.
#[derive(Debug, Clone, Serialize)]
struct Asked {
    node_id: NodeId,
    peer_address: String,
    voter: bool,
    answers: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_entry: Option<u64>,
    #[serde(skip)]
    epoch: u64,
}

impl RecoverQuorum {
    /// Looks, decides and, when told to, recovers.
    pub(crate) fn run(self, target: PeerTarget<'_>, config: &Config) -> Result<String, Failure> {
        let engines = RocksEngines::new();
        let survivor =
            survey(&config.data_dir, &engines, config.node_id).map_err(|e| broken(&e))?;
        let format = target.format;
        let asked = ask(&survivor, target)?;
        judge(&survivor, &asked).map_err(|sentence| Failure::new(Exit::Refused, sentence))?;
        let mut report = report(&survivor, asked);
        if let Some(last) = self.accept_loss_after {
            if last != survivor.last_index {
                let found = survivor.last_index;
                let sentence = format_args!(
                    "this node's log ends at entry {found}, not at {last}: run the command without \
                     --accept-loss-after and look again"
                );
                return Err(Failure::new(Exit::Refused, sentence));
            }
            let epoch = begin_epoch(&config.data_dir, &engines, config.node_id, last);
            report.new_epoch = Some(epoch.map_err(|e| broken(&e))?);
            report.next = after(&report);
        }
        output::value(format, &report)
    }
}

fn broken(error: &StorageError) -> Failure {
    Failure::server(error.exit_code(), error)
}

/// Asks every other member how it is.
fn ask(survivor: &Survivor, target: PeerTarget<'_>) -> Result<Vec<Asked>, Failure> {
    let tries = TryFlags { timeout: target.tries.timeout.min(MEMBER_TIMEOUT), retry: 0 };
    let target = PeerTarget { tries: &tries, ..target };
    let mut asked = Vec::new();
    for known in &survivor.members {
        let (node_id, peer_address) = (known.node_id, known.member.peer_address.clone());
        let mut member = Asked {
            node_id,
            peer_address: peer_address.clone(),
            voter: known.voter,
            answers: false,
            last_entry: None,
            epoch: 0,
        };
        if node_id == survivor.node_id {
            member.last_entry = Some(survivor.last_index);
            asked.push(member);
            continue;
        }
        let of = MemberStatus { node_id, peer_address, ..MemberStatus::default() };
        let status: Result<StatusResponse, Failure> = target.ask_member(
            survivor.node_id,
            &of,
            &StatusRequest {},
            async |channel, request| ClusterServiceClient::new(channel).status(request).await,
        );
        match status {
            // Another cluster's node, or a fresh one, is none of these members.
            Ok(status) if status.cluster_id != survivor.cluster_id => {}
            Ok(status) => {
                member.answers = true;
                member.last_entry = Some(status.last_log_index);
                member.epoch = status.cluster_epoch;
            }
            Err(failure) if failure.exit() == Exit::Unreachable => {}
            // Somebody is there, whatever it says: not to be taken for lost.
            Err(failure) if failure.exit() == Exit::Refused => member.answers = true,
            Err(failure) => return Err(failure),
        }
        asked.push(member);
    }
    Ok(asked)
}

/// Refuses while there is anything better to do; says what.
fn judge(survivor: &Survivor, asked: &[Asked]) -> Result<(), String> {
    let others = || asked.iter().filter(|member| member.answers);
    if let Some(later) = others().find(|member| member.epoch > survivor.epoch) {
        let Asked { node_id, epoch, .. } = later;
        return Err(format!(
            "the cluster has gone on in epoch {epoch} already, as node {node_id} says, and this \
             node was left out: set it up anew, with a new id and an empty directory"
        ));
    }
    let voters = asked.iter().filter(|member| member.voter).count();
    let is_voter = asked.iter().any(|member| member.voter && member.node_id == survivor.node_id);
    let there = others().filter(|member| member.voter).count();
    let needed = voters / 2 + 1;
    if there >= needed {
        return Err(format!(
            "{there} of the {voters} voters answer, which is a majority: the quorum is not lost"
        ));
    }
    if is_voter && there + 1 >= needed {
        return Err(format!(
            "with this node {} of the {voters} voters are there, which is a majority: start it, \
             and there is nothing to recover",
            there + 1
        ));
    }
    let more = others().filter(|member| member.last_entry > Some(survivor.last_index));
    if let Some(more) = more.max_by_key(|member| member.last_entry) {
        let (node_id, theirs) = (more.node_id, more.last_entry.unwrap_or_default());
        return Err(format!(
            "node {node_id} has more of the log, up to entry {theirs} where this node has {}: \
             stop it and recover from there",
            survivor.last_index
        ));
    }
    Ok(())
}

fn report(survivor: &Survivor, members: Vec<Asked>) -> Report {
    let Survivor { last_index: last, committed_index: committed, .. } = *survivor;
    let given_up = given_up(survivor.node_id, &members);
    let uncertain = if last > committed {
        let first = committed + 1;
        format!(
            "Of the entries {first} to {last} this node does not know whether they were committed; \
             they count as committed from then on."
        )
    } else {
        "Nothing: all entries of this node are committed.".to_owned()
    };
    Report {
        cluster_id: survivor.cluster_id.clone(),
        node_id: survivor.node_id,
        epoch: survivor.epoch,
        last_entry: last,
        committed_entry: committed,
        applied_entry: survivor.applied_index,
        applied_at: timestamp(survivor.applied_at).to_string(),
        what_is_lost: format!(
            "Whatever was acknowledged behind entry {last}, which only {given_up} may have. Nobody \
             can say how much that is."
        ),
        what_is_uncertain: uncertain,
        new_epoch: None,
        next: format!(
            "Nothing was changed. Make sure that {given_up} are lost, or stopped for good. Then \
             run the command again with --accept-loss-after {last}."
        ),
        members,
    }
}

/// What to do once it is done.
fn after(report: &Report) -> String {
    let given_up = given_up(report.node_id, &report.members);
    format!(
        "Start node {}: it leads alone. Nobody may be served by {given_up} any more: see that they \
         are stopped, and remove their data. Then add new nodes, with new ids and empty \
         directories (`lockbox cluster add`, `promote`); until there are three, no node may fail.",
        report.node_id
    )
}

fn given_up(own: NodeId, members: &[Asked]) -> String {
    let others = members.iter().filter(|member| member.node_id != own);
    let ids: Vec<String> = others.map(|member| member.node_id.to_string()).collect();
    match ids.as_slice() {
        [one] => format!("node {one}"),
        [] | [_, _, ..] => format!("nodes {}", ids.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use lockbox_core::LogTime;

    use super::*;

    fn survivor() -> Survivor {
        Survivor {
            node_id: 2,
            cluster_id: "lbc1".to_owned(),
            epoch: 0,
            term: 4,
            last_index: 90,
            last_term: 4,
            committed_index: 88,
            applied_index: 87,
            applied_at: LogTime::from_ms(1_767_225_600_000),
            members: Vec::new(),
        }
    }

    /// Voters 1 to `voters`; this one is node 2.
    fn asked(voters: u64, there: &[(NodeId, u64)]) -> Vec<Asked> {
        let member = |node_id| {
            let answer = there.iter().find(|(id, _)| *id == node_id);
            Asked {
                node_id,
                peer_address: format!("n{node_id}:1"),
                voter: true,
                answers: answer.is_some(),
                last_entry: answer.map(|(_, last)| *last),
                epoch: 0,
            }
        };
        (1..=voters).map(member).collect()
    }

    fn refusal(asked: &[Asked]) -> String {
        judge(&survivor(), asked).unwrap_err()
    }

    #[test]
    fn a_quorum_that_is_there_is_not_recovered() {
        assert!(refusal(&asked(3, &[(1, 90)])).contains("start it"));
        assert!(refusal(&asked(3, &[(1, 90), (3, 90)])).contains("the quorum is not lost"));
        // As after a recovery: this node alone is all there is.
        let alone: Vec<Asked> = asked(3, &[]).into_iter().filter(|m| m.node_id == 2).collect();
        assert!(refusal(&alone).contains("start it"));
        judge(&survivor(), &asked(3, &[])).unwrap();
        judge(&survivor(), &asked(5, &[(1, 90)])).unwrap();
        assert!(refusal(&asked(5, &[(1, 90), (4, 90)])).contains("3 of the 5 voters"));
    }

    #[test]
    fn a_survivor_with_more_goes_first_and_a_later_epoch_before_all() {
        assert!(refusal(&asked(5, &[(4, 91)])).contains("node 4 has more of the log"));
        let mut later = asked(5, &[(4, 91)]);
        later[3].epoch = 1;
        assert!(refusal(&later).contains("gone on in epoch 1 already, as node 4 says"));
    }

    #[test]
    fn what_may_be_lost_is_said() {
        let report = report(&survivor(), asked(3, &[]));
        let text = output::value(output::Format::Text, &report).unwrap();
        for told in [
            "last_entry: 90",
            "acknowledged behind entry 90, which only nodes 1, 3 may have",
            "entries 89 to 90",
            "--accept-loss-after 90",
            "2026-01-01T00:00:00Z",
        ] {
            assert!(text.contains(told), "{told} is not in {text}");
        }
        assert!(!text.contains("new_epoch"), "{text}");
        assert!(after(&report).contains("Nobody may be served by nodes 1, 3 any more"));
    }
}

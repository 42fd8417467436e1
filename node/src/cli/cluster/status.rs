//! `lockbox cluster status`.

use lockbox_proto::lockbox::cluster::v1::{MemberStatus, StatusResponse};

use crate::cli::failure::Failure;
use crate::cli::output::{self, Format, Record, Table};
use crate::cli::peer::PeerTarget;

/// Shows the state of the node.
pub(crate) fn run(target: &PeerTarget<'_>) -> Result<String, Failure> {
    let status = target.status()?;
    let format = target.format;
    match format {
        Format::Text => {
            let tables = [node_table(&status), log_table(&status), members_table(&status.members)];
            Ok(tables.iter().map(Table::render).collect())
        }
        Format::Yaml | Format::Json | Format::JsonRest => {
            output::one(format, &Record::of(&status)?)
        }
    }
}

/// The node, in one row.
fn node_table(status: &StatusResponse) -> Table {
    let leader =
        if status.leader_id == 0 { "none".to_owned() } else { status.leader_id.to_string() };
    let sealed = match (status.sealed, status.sealed_reason.as_str()) {
        (false, _) => "no".to_owned(),
        (true, "") => "yes".to_owned(),
        (true, reason) => format!("yes: {reason}"),
    };
    Table {
        columns: vec!["CLUSTER", "NODE", "ROLE", "LEADER", "TERM", "SEALED", "VERSION"],
        rows: vec![vec![
            cluster_name(status),
            status.node_id.to_string(),
            status.role.clone(),
            leader,
            status.term.to_string(),
            sealed,
            status.version.clone(),
        ]],
    }
}

/// The cluster's id, with its epoch after a quorum was lost.
fn cluster_name(status: &StatusResponse) -> String {
    match status.cluster_epoch {
        0 => status.cluster_id.clone(),
        epoch => format!("{} (epoch {epoch})", status.cluster_id),
    }
}

/// Where its log stands.
fn log_table(status: &StatusResponse) -> Table {
    let indexes = [
        status.last_log_index,
        status.committed_index,
        status.applied_index,
        status.snapshot_index,
        status.purged_index,
    ];
    let mut cells: Vec<String> = indexes.iter().map(u64::to_string).collect();
    let joint = if status.joint { " (joint)" } else { "" };
    cells.push(format!("{}{joint}", status.membership_token));
    Table {
        columns: vec!["LAST LOG", "COMMITTED", "APPLIED", "SNAPSHOT", "PURGED", "MEMBERSHIP"],
        rows: vec![cells],
    }
}

/// The members as the node sees them.
fn members_table(members: &[MemberStatus]) -> Table {
    let row = |member: &MemberStatus| {
        let matched =
            if member.matched_known { member.matched_index.to_string() } else { "-".into() };
        vec![
            member.node_id.to_string(),
            if member.voter { "voter" } else { "learner" }.to_owned(),
            member.peer_address.clone(),
            member.api_address.clone(),
            matched,
        ]
    };
    Table {
        columns: vec!["MEMBER", "VOTE", "PEER ADDRESS", "API ADDRESS", "MATCHED"],
        rows: members.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_knows_how_far_its_members_are() {
        let member = |node_id, known| MemberStatus {
            node_id,
            peer_address: format!("n{node_id}:1"),
            api_address: format!("n{node_id}:2"),
            voter: node_id != 3,
            matched_index: 9,
            matched_known: known,
            store_id: "00".repeat(16),
        };
        let status = StatusResponse {
            cluster_id: "lbc1".to_owned(),
            node_id: 1,
            role: "leader".to_owned(),
            leader_id: 1,
            term: 2,
            last_log_index: 9,
            committed_index: 8,
            applied_index: 7,
            sealed: true,
            sealed_reason: "no KMS".to_owned(),
            members: vec![member(1, true), member(3, false)],
            version: "0.1.0".to_owned(),
            membership_token: "1.1".to_owned(),
            ..StatusResponse::default()
        };
        let expected = "\
+---------+------+--------+--------+------+-------------+---------+
| CLUSTER | NODE | ROLE   | LEADER | TERM | SEALED      | VERSION |
+---------+------+--------+--------+------+-------------+---------+
| lbc1    | 1    | leader | 1      | 2    | yes: no KMS | 0.1.0   |
+---------+------+--------+--------+------+-------------+---------+
";
        assert_eq!(node_table(&status).render(), expected);
        let expected = "\
+----------+-----------+---------+----------+--------+------------+
| LAST LOG | COMMITTED | APPLIED | SNAPSHOT | PURGED | MEMBERSHIP |
+----------+-----------+---------+----------+--------+------------+
| 9        | 8         | 7       | 0        | 0      | 1.1        |
+----------+-----------+---------+----------+--------+------------+
";
        assert_eq!(log_table(&status).render(), expected);
        let expected = "\
+--------+---------+--------------+-------------+---------+
| MEMBER | VOTE    | PEER ADDRESS | API ADDRESS | MATCHED |
+--------+---------+--------------+-------------+---------+
| 1      | voter   | n1:1         | n1:2        | 9       |
| 3      | learner | n3:1         | n3:2        | -       |
+--------+---------+--------------+-------------+---------+
";
        assert_eq!(members_table(&status.members).render(), expected);
    }

    #[test]
    fn a_fresh_node_has_no_leader() {
        let row = node_table(&StatusResponse::default()).rows.remove(0);
        assert_eq!(row[3], "none");
        let later = StatusResponse {
            cluster_id: "lbc1".to_owned(),
            cluster_epoch: 2,
            ..StatusResponse::default()
        };
        assert_eq!(node_table(&later).rows[0][0], "lbc1 (epoch 2)");
        assert_eq!(row[5], "no");
    }
}

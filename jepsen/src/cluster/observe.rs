//! Looking at a server from outside: its readiness and its metrics, over plain HTTP.
//!
//! Promises to answer in bounded time whatever the server does: one that is stopped, paused or
//! gone is `None`. Believes what a node says of itself; the laws do not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::addresses::Network;
use super::part::{METRICS_PORT, Part};

/// How long a look may take. A paused process accepts connections and says nothing.
const PATIENCE: Duration = Duration::from_millis(400);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// The part that a node says it plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Has no vote.
    Learner,
    /// Has a vote and follows.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Its consensus has ended.
    Stopped,
}

impl Role {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Learner, "learner"),
        (Self::Follower, "follower"),
        (Self::Candidate, "candidate"),
        (Self::Leader, "leader"),
        (Self::Stopped, "stopped"),
    ];
}

/// A node as it sees itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// The node.
    pub node: u16,
    /// The part it plays.
    pub role: Role,
    /// The term it is in.
    pub term: u64,
    /// Whether a leader with a quorum answers it.
    pub has_leader: bool,
    /// Last entry in its log.
    pub last_log: u64,
    /// Last entry that it knows to be committed.
    pub committed: u64,
    /// Last entry applied.
    pub applied: u64,
    /// Last entry in its newest snapshot.
    pub snapshot: u64,
    /// Last entry removed from its log.
    pub purged: u64,
    /// Largest difference between its wall clock and a voter's, in milliseconds.
    pub skew_ms: u64,
}

/// The node as it sees itself now; none when it does not answer.
#[must_use]
pub fn view(network: Network, node: u16) -> Option<NodeView> {
    let (status, body) = get(network, Part::Node(node), "/metrics")?;
    if status == 200 { read_view(node, &body) } else { None }
}

/// Whether the server says that it is ready. None when it does not answer.
#[must_use]
pub fn is_ready(network: Network, part: Part) -> Option<bool> {
    get(network, part, "/readyz").map(|(status, _)| status == 200)
}

/// What a server says that it waits for; empty when it does not answer.
#[must_use]
pub fn unready_reason(network: Network, part: Part) -> String {
    get(network, part, "/readyz").map(|(_, body)| body).unwrap_or_default()
}

/// Whether a node says that its disk is low. None when it does not answer.
#[must_use]
pub fn disk_is_low(network: Network, node: u16) -> Option<bool> {
    let (status, body) = get(network, Part::Node(node), "/metrics")?;
    let is_low = if status == 200 { read_value(&body, "lockbox_disk_is_low") } else { None };
    is_low.map(|value| value == 1)
}

fn get(network: Network, part: Part, path: &str) -> Option<(u16, String)> {
    let address = SocketAddr::from((network.address(part.host()), METRICS_PORT));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// The value of a series without labels, or of the one whose labels are written with its name.
fn read_value(metrics: &str, name: &str) -> Option<u64> {
    let lines = metrics.lines();
    let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    // Prometheus numbers are floating; these are whole ones.
    values.next()?.trim().parse().ok()
}

fn read_view(node: u16, metrics: &str) -> Option<NodeView> {
    let value = |name: &str| read_value(metrics, name);
    let plays = |name: &str| value(&format!("lockbox_raft_role{{role=\"{name}\"}}")) == Some(1);
    let (role, _) = Role::ALL.into_iter().find(|(_, name)| plays(name))?;
    Some(NodeView {
        node,
        role,
        term: value("lockbox_raft_term")?,
        has_leader: value("lockbox_raft_has_leader")? == 1,
        last_log: value("lockbox_raft_last_log_index")?,
        committed: value("lockbox_raft_committed_index")?,
        applied: value("lockbox_raft_applied_index")?,
        snapshot: value("lockbox_raft_snapshot_index")?,
        purged: value("lockbox_raft_purged_index")?,
        skew_ms: value("lockbox_clock_skew_milliseconds")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "\
# HELP lockbox_raft_role 1 for the part that this node plays.
lockbox_raft_role{role=\"follower\"} 0
lockbox_raft_role{role=\"leader\"} 1
lockbox_raft_term 3
lockbox_raft_has_leader 1
lockbox_raft_last_log_index 90
lockbox_raft_committed_index 80
lockbox_raft_applied_index 70
lockbox_raft_snapshot_index 60
lockbox_raft_purged_index 50
lockbox_clock_skew_milliseconds 4
";

    #[test]
    fn a_view_is_read_from_the_metrics() {
        let expected = NodeView {
            node: 2,
            role: Role::Leader,
            term: 3,
            has_leader: true,
            last_log: 90,
            committed: 80,
            applied: 70,
            snapshot: 60,
            purged: 50,
            skew_ms: 4,
        };
        assert_eq!(read_view(2, METRICS), Some(expected));
        assert_eq!(read_value(METRICS, "lockbox_raft_term"), Some(3));
        assert_eq!(read_value(METRICS, "lockbox_raft"), None);
        let silent = METRICS.replace("\"leader\"} 1", "\"leader\"} 0");
        assert_eq!(read_view(2, &silent), None);
        assert_eq!(read_view(2, &METRICS.replace("raft_term 3", "raft_time 3")), None);
    }
}

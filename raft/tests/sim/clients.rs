//! Clients: random commands and reads through random nodes, without retries, and what they were
//! told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockbox_core::{FolderId, NodeId, RequestId};
use lockbox_raft::StorageError;
use lockbox_raft::domain::{Envelope, Outcome, encode};
use lockbox_raft::replica::{Applied, ProposeError, ReadError, Replica};
use lockbox_raft::state::{StateRead, tables};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::command_parts::FOLDER;
use crate::commands::Generator;
use crate::harness::Random;
use crate::node::Node;
use crate::plan::Plan;
use crate::trace::Trace;

/// Operations under way at most.
const IN_FLIGHT_MAX: usize = 12;
const DEADLINE_MS: std::ops::Range<u64> = 150..2_500;
/// For operations that have to succeed.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);
/// Secrets and versions that a read looks at.
const ROWS_MAX: usize = 1_000;

/// A command that a client has sent.
pub(crate) struct Sent {
    pub(crate) envelope: Envelope,
    /// The largest index that any client had been told before this was sent.
    pub(crate) told_before: u64,
}

/// What a client was told.
pub(crate) enum Told {
    Wrote {
        request: RequestId,
        told_before: u64,
        applied: Applied,
    },
    /// A view's index and what was in it.
    Read {
        index: u64,
        seen: [u8; 32],
    },
}

enum Answer {
    Wrote(Box<Sent>, Result<Applied, ProposeError>),
    Read { told_before: u64, result: Result<(u64, [u8; 32]), ReadError> },
}

/// How many operations ended how.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) writes: u64,
    pub(crate) rejected: u64,
    pub(crate) unanswered: u64,
    pub(crate) reads: u64,
}

/// All clients.
pub(crate) struct Clients {
    generator: Generator,
    random: Random,
    trace: Trace,
    next_ms: u64,
    in_flight: Arc<()>,
    answers: Arc<Mutex<Vec<(NodeId, Answer)>>>,
    /// Reads skip the barrier: a bug, for the test that it is seen.
    skip_barrier: bool,
    pub(crate) counts: Counts,
    /// Every command that was sent, whatever became of it.
    pub(crate) sent: Vec<(RequestId, Vec<u8>)>,
    pub(crate) told: Vec<Told>,
    /// The largest index that any client was told.
    pub(crate) told_index: u64,
}

impl Clients {
    pub(crate) fn new(mut random: Random, skip_barrier: bool, trace: Trace) -> Self {
        Self {
            generator: Generator::new(random.next()),
            random,
            trace,
            next_ms: 0,
            in_flight: Arc::new(()),
            answers: Arc::default(),
            skip_barrier,
            counts: Counts::default(),
            sent: Vec::new(),
            told: Vec::new(),
            told_index: 0,
        }
    }

    /// Sends the next operation when its time has come.
    pub(crate) fn act(&mut self, now_ms: u64, plan: &Plan, nodes: &[Node]) {
        if now_ms < self.next_ms || Arc::strong_count(&self.in_flight) > IN_FLIGHT_MAX {
            return;
        }
        self.next_ms = now_ms + self.random.within(&plan.operation_gap_ms);
        let up: Vec<&Node> = nodes.iter().filter(|node| node.replica().is_some()).collect();
        if up.is_empty() {
            return;
        }
        let node = self.random.pick(&up);
        let deadline = Duration::from_millis(self.random.within(&DEADLINE_MS));
        if self.random.chance(plan.reads_permille) {
            self.read(node, deadline);
        } else {
            let envelope = self.generator.next();
            self.write(node, envelope, deadline);
        }
    }

    /// Sends the command that begins the cluster's life.
    pub(crate) fn begin(&mut self, node: &Node) {
        let envelope = self.generator.next();
        self.write(node, envelope, PROBE_DEADLINE);
    }

    /// Sends a write and a read to one node, with time enough for both.
    pub(crate) fn probe(&mut self, node: &Node) {
        let envelope = self.generator.next();
        self.write(node, envelope, PROBE_DEADLINE);
        self.read(node, PROBE_DEADLINE);
    }

    fn write(&mut self, node: &Node, envelope: Envelope, deadline: Duration) {
        self.trace.note(format_args!("client to {}: {envelope:?}", node.id));
        self.sent.push((envelope.request_id, encode(&envelope.command)));
        let sent = Box::new(Sent { envelope: envelope.clone(), told_before: self.told_index });
        let (answers, id) = (Arc::clone(&self.answers), node.id);
        let under_way = Arc::clone(&self.in_flight);
        node.spawn(|replica| async move {
            let result = replica.propose(envelope, Instant::now() + deadline).await;
            answers.lock().unwrap().push((id, Answer::Wrote(sent, result)));
            drop(under_way);
        });
    }

    fn read(&self, node: &Node, deadline: Duration) {
        let told_before = self.told_index;
        let (answers, id) = (Arc::clone(&self.answers), node.id);
        let under_way = Arc::clone(&self.in_flight);
        let skip_barrier = self.skip_barrier;
        node.spawn(|replica| async move {
            let result = look(&replica, skip_barrier, Instant::now() + deadline).await;
            answers.lock().unwrap().push((id, Answer::Read { told_before, result }));
            drop(under_way);
        });
    }

    /// Takes in what clients were told since the last step.
    pub(crate) fn collect(&mut self) {
        let answers = std::mem::take(&mut *self.answers.lock().unwrap());
        for (node, answer) in answers {
            match answer {
                Answer::Wrote(sent, Ok(applied)) => self.wrote(node, &sent, applied),
                Answer::Wrote(sent, Err(error)) => {
                    self.counts.unanswered += 1;
                    self.trace.note(format_args!("{node} to {:?}: {error}", sent.envelope));
                }
                Answer::Read { told_before, result: Ok((index, seen)) } => {
                    self.counts.reads += 1;
                    self.trace.hash("read", &seen);
                    self.trace.note(format_args!("{node} reads at {index}"));
                    if index < told_before {
                        let how = format_args!("node {node} read at {index} after {told_before}");
                        self.trace.broken("reads never go back", how);
                    }
                    self.told_index = self.told_index.max(index);
                    self.told.push(Told::Read { index, seen });
                }
                Answer::Read { result: Err(error), .. } => {
                    self.counts.unanswered += 1;
                    self.trace.note(format_args!("{node} does not read: {error}"));
                }
            }
        }
    }

    fn wrote(&mut self, node: NodeId, sent: &Sent, applied: Applied) {
        let request = sent.envelope.request_id;
        let index = applied.index;
        let is_rejected = matches!(applied.outcome, Outcome::Rejected(_));
        self.counts.writes += 1;
        self.counts.rejected += u64::from(is_rejected);
        self.trace.hash("outcome", &encode(&applied.outcome));
        self.trace.note(format_args!("{node} to {:?}: done at {index}", sent.envelope));
        self.generator.learn(index, &applied.outcome);
        self.told_index = self.told_index.max(index);
        let told_before = sent.told_before;
        self.told.push(Told::Wrote { request, told_before, applied });
    }

    /// Whether every operation has ended.
    pub(crate) fn is_quiet(&self) -> bool {
        Arc::strong_count(&self.in_flight) == 1
    }
}

async fn look(
    replica: &Replica,
    skip_barrier: bool,
    deadline: Instant,
) -> Result<(u64, [u8; 32]), ReadError> {
    let reading = if skip_barrier {
        replica.read_stale(|view, _now| content(view))?
    } else {
        replica.read(deadline, |view, _now| content(view)).await?
    };
    Ok((reading.index, reading.value?))
}

/// A digest of the secrets with their versions, as a list in the console would show them.
pub(crate) fn content(view: &dyn StateRead) -> Result<[u8; 32], StorageError> {
    let mut digest = Sha256::new();
    let folder = FolderId::parse(FOLDER).unwrap();
    let (secrets, _) = tables::secrets_page(view, &folder, 0, ROWS_MAX)?;
    for secret in secrets {
        digest.update(encode(&secret));
        let (versions, _) = tables::versions_page(view, &secret.id, u64::MAX, ROWS_MAX)?;
        for version in versions {
            digest.update(encode(&version));
        }
        if let Some(current) = &secret.current_version {
            let payload = tables::payload(view, &secret.id, current)?;
            digest.update(payload.map(|payload| encode(&payload)).unwrap_or_default());
        }
    }
    Ok(digest.finalize().into())
}

//! The driver: one thread that moves time by steps and lets the network and each node run in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use lockbox_core::{ClusterId, NodeId};
use lockbox_raft::types::Member;
use serde::{Deserialize, Serialize};

use crate::clients::Clients;
use crate::defect::Defect;
use crate::disk::Disk;
use crate::harness::Random;
use crate::invariants::Invariants;
use crate::ledger::Ledger;
use crate::members::{self, member};
use crate::nemesis::Nemesis;
use crate::network::{Network, Presence};
use crate::node::{Node, Sign};
use crate::plan::Plan;
use crate::replay;
use crate::time::WorldTime;
use crate::trace::Trace;

/// Within this time a healthy cluster has formed.
const FORMED_WITHIN_MS: u64 = 20_000;
/// Within this time after everything has healed the cluster serves again on every member. A
/// connection that was cut off without a word is found dead after ten seconds.
const SERVES_WITHIN_MS: u64 = 30_000;

/// What a run came to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Hash of everything that happened.
    pub(crate) trace: String,
    pub(crate) violation: Option<String>,
    pub(crate) lines: Vec<String>,
    /// How often what happened.
    pub(crate) counts: BTreeMap<String, u64>,
    /// Commands that took effect, by kind.
    pub(crate) kinds: BTreeMap<String, u64>,
}

impl Report {
    /// What is left of a process that has died.
    pub(crate) fn of_a_dead_process(said: &str) -> Self {
        Self {
            trace: String::new(),
            violation: Some("the process died".to_owned()),
            lines: said.lines().map(str::to_owned).collect(),
            counts: BTreeMap::new(),
            kinds: BTreeMap::new(),
        }
    }
}

struct Simulation {
    plan: Arc<Plan>,
    time: WorldTime,
    trace: Trace,
    ledger: Ledger,
    network: Arc<Network>,
    nodes: Vec<Node>,
    nemesis: Nemesis,
    clients: Clients,
    invariants: Invariants,
    lives: u64,
}

/// Runs the whole life of a cluster, whose files go into this directory.
pub(crate) fn run(seed: u64, defect: Option<Defect>, root: &Path) -> Report {
    let mut simulation = Simulation::new(seed, defect, root);
    simulation.form();
    simulation.trouble();
    let healed_ms = simulation.heal();
    simulation.report(&root.join("oracle"), healed_ms)
}

impl Simulation {
    fn new(seed: u64, defect: Option<Defect>, root: &Path) -> Self {
        let mut random = Random(seed);
        let plan = Arc::new(Plan::draw(&mut random.fork()));
        let time = WorldTime::default();
        let trace = Trace::new(time.clone());
        trace.note(format_args!("seed {seed}: {plan:?}"));
        let ids = &[plan.nodes.as_slice(), plan.spares.as_slice()].concat();
        let ledger = Ledger::new(ids, trace.clone());
        let network =
            Network::new(ids, plan.network.clone(), random.fork(), time.clone(), trace.clone());
        let network = Arc::new(network);
        let bug = defect.and_then(Defect::of_the_disk);
        let nodes = ids.iter().map(|id| {
            let disk = Disk::new(*id, bug, random.fork(), ledger.clone(), trace.clone());
            disk.set_pace(plan.sync_ms.clone());
            Node::new(*id, &plan, disk, &network, &time, root, random.fork())
        });
        let nodes = nodes.collect();
        let skip_barrier = defect == Some(Defect::SkippedBarrier);
        Self {
            nemesis: Nemesis::new(random.fork(), trace.clone()),
            clients: Clients::new(random.fork(), skip_barrier, trace.clone()),
            invariants: Invariants::new(ledger.clone(), trace.clone()),
            plan,
            time,
            trace,
            ledger,
            network,
            nodes,
            lives: 0,
        }
    }

    /// One step of everything.
    fn step(&mut self) {
        let step_ms = self.plan.step_ms;
        self.network.deliver();
        for at in 0..self.nodes.len() {
            let Some(sign) = self.nodes[at].step(step_ms) else { continue };
            self.heed(at, sign);
        }
        self.clients.collect();
        self.invariants.check(&self.nodes);
        self.time.step(step_ms);
    }

    /// Does what a process's supervisor does.
    fn heed(&mut self, at: usize, sign: Sign) {
        let node = &mut self.nodes[at];
        let (id, now_ms) = (node.id, self.time.now_ms());
        match sign {
            Sign::Started => {
                self.lives += 1;
                self.invariants.new_life(id);
                self.trace.note(format_args!("node {id} runs"));
            }
            Sign::ShutDown => {
                self.trace.note(format_args!("node {id} has shut down"));
                node.kill();
                self.nemesis.start_later(id, now_ms);
            }
            Sign::Failed(reason) => {
                self.trace.note(format_args!("node {id} ends: {reason}"));
                if !node.disk.has_failed() {
                    let how = format_args!("node {id} ends by itself: {reason}");
                    self.trace.broken("nodes live", how);
                }
                node.kill();
                self.nemesis.start_later(id, now_ms);
            }
        }
    }

    /// Steps until something holds; false when it does not within the time, or when a promise
    /// was broken.
    fn until(&mut self, within_ms: u64, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        let by_ms = self.time.now_ms() + within_ms;
        while self.time.now_ms() < by_ms && self.trace.violation().is_none() {
            if holds(self) {
                return true;
            }
            self.step();
        }
        false
    }

    /// Starts the nodes and makes a cluster of them.
    fn form(&mut self) {
        let first = self.plan.nodes.len();
        self.nodes[..first].iter_mut().for_each(Node::start);
        let all_run =
            move |s: &mut Self| s.nodes[..first].iter().all(|node| node.replica().is_some());
        let formed = self.until(FORMED_WITHIN_MS, all_run);
        let members: BTreeMap<NodeId, Member> =
            self.plan.nodes.iter().map(|id| (*id, member(*id))).collect();
        let first = &self.nodes[0];
        first.spawn(|replica| async move {
            replica.initialize(ClusterId::parse("cluster").unwrap(), members).await.unwrap();
        });
        let formed = formed && self.until(FORMED_WITHIN_MS, |s| s.common_leader());
        self.clients.begin(&self.nodes[0]);
        let formed = formed && self.until(FORMED_WITHIN_MS, |s| s.clients.counts.writes == 1);
        if !formed {
            self.trace.broken("progress", "the cluster does not form");
        }
    }

    /// Lets clients work while faults come.
    fn trouble(&mut self) {
        let plan = Arc::clone(&self.plan);
        let _by_its_end = self.until(plan.troubled_ms, |s| {
            let now_ms = s.time.now_ms();
            s.nemesis.act(now_ms, &plan, &s.network, &mut s.nodes);
            s.clients.act(now_ms, &plan, &s.nodes);
            false
        });
    }

    /// Ends all faults, and waits until every member serves. Returns how long that took.
    fn heal(&mut self) -> u64 {
        let (plan, begun_ms) = (Arc::clone(&self.plan), self.time.now_ms());
        if self.trace.violation().is_some() {
            return 0;
        }
        self.nemesis.heal(&plan, &self.network, &mut self.nodes);
        let mut round = None;
        let serves = self.until(SERVES_WITHIN_MS, |s| {
            s.nemesis.act(s.time.now_ms(), &plan, &s.network, &mut s.nodes);
            if !s.clients.is_quiet() || !s.common_leader() {
                return false;
            }
            let answered = s.clients.counts.writes + s.clients.counts.reads;
            if round == Some(answered) {
                return s.converged();
            }
            // Each node once more, now that nothing is wrong; all of it must succeed.
            let members = members::agreed(&s.nodes).unwrap_or_default();
            round = Some(answered + 2 * members.len() as u64);
            let members = s.nodes.iter().filter(|node| members.contains(&node.id));
            members.for_each(|node| s.clients.probe(node));
            false
        });
        if !serves && self.trace.violation().is_none() {
            let how = format_args!("not every member serves {SERVES_WITHIN_MS} ms after healing");
            self.trace.broken("progress", how);
        }
        self.nodes.iter().for_each(|node| self.invariants.check_state(node));
        self.time.now_ms() - begun_ms
    }

    /// Whether all members run and agree on a leader.
    fn common_leader(&mut self) -> bool {
        let Some(members) = members::agreed(&self.nodes) else { return false };
        let leader = |node: &Node| node.replica()?.leader().map(|(id, _)| id);
        let members = self.nodes.iter().filter(|node| members.contains(&node.id));
        let leaders: BTreeSet<_> = members.map(leader).collect();
        leaders.len() == 1 && leaders.iter().all(Option::is_some)
    }

    /// Whether all members have applied all there is.
    fn converged(&self) -> bool {
        let Some(members) = members::agreed(&self.nodes) else { return false };
        let end = self.ledger.end();
        let applied = |node: &Node| node.replica().map(|replica| replica.status().applied);
        let mut members = self.nodes.iter().filter(|node| members.contains(&node.id));
        members.all(|node| applied(node) == Some(end))
    }

    fn report(mut self, oracle: &Path, healed_ms: u64) -> Report {
        let states_opened: u64 = self.nodes.iter().map(|node| node.disk.states_opened()).sum();
        for node in &mut self.nodes {
            self.network.set_presence(node.id, Presence::Silent);
            node.kill();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let check = replay::check(&self.ledger, &self.clients, &self.trace, oracle);
        let tally = runtime.block_on(check);
        let clients = self.clients.counts;
        let mut counts = BTreeMap::from([
            ("simulated ms".to_owned(), self.time.now_ms()),
            ("healed ms".to_owned(), healed_ms),
            ("entries".to_owned(), self.ledger.end()),
            ("terms led".to_owned(), self.ledger.terms_led() as u64),
            ("lives".to_owned(), self.lives),
            ("snapshots installed".to_owned(), states_opened.saturating_sub(self.lives)),
            ("writes".to_owned(), clients.writes),
            ("rejected".to_owned(), clients.rejected),
            ("reads".to_owned(), clients.reads),
            ("unanswered".to_owned(), clients.unanswered),
        ]);
        let members = &self.nemesis.members;
        counts.insert("members changed".to_owned(), members.changed());
        counts.insert("leadership handed over".to_owned(), members.transferred());
        let faults = &self.nemesis.counts;
        counts.extend(faults.iter().map(|(kind, count)| (format!("fault {kind:?}"), *count)));
        Report {
            trace: self.trace.digest(),
            violation: self.trace.violation(),
            lines: self.trace.lines(),
            counts,
            kinds: tally.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect(),
        }
    }
}

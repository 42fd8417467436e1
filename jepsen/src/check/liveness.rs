//! How quickly a cluster comes back: judged only while a majority of voters is up and reaches
//! each other, for nothing is owed otherwise.

use crate::history::History;
use crate::history::event::Phase;
use crate::history::ids::OpId;
use crate::history::op::Op;
use crate::history::sample::RaftRole;

/// What is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Longest time without a leader while a majority is connected, in milliseconds.
    pub leader_ms_max: u64,
    /// After healing, the time from which on operations are judged, in milliseconds.
    pub settle_ms: u64,
    /// Of a thousand operations after that, how many succeed.
    pub ok_of_thousand_min: u64,
    /// Final reads, and as many final writes, that there must be at least.
    pub final_ops_min: u64,
}

impl Default for Bounds {
    /// Generous ones: two shared cores, elections of 400–800 ms, deadlines of 2 s.
    fn default() -> Self {
        Self { leader_ms_max: 10_000, settle_ms: 10_000, ok_of_thousand_min: 990, final_ops_min: 1 }
    }
}

/// What was measured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Liveness {
    /// Stretches with a connected majority that were long enough to be judged.
    pub windows: u64,
    /// The longest time without a leader in one of them, and when it began, in nanoseconds.
    pub leaderless_ns: (u64, u64),
    /// Operations that began once the healed cluster had settled.
    pub healed_ops: u64,
    /// Those of them that were answered.
    pub healed_ok: u64,
    /// Final reads that were answered.
    pub final_reads: u64,
    /// Final writes that were answered.
    pub final_writes: u64,
    /// The first final operation that was not.
    pub final_failure: Option<OpId>,
}

/// Measures.
#[must_use]
pub fn measure(history: &History, bounds: &Bounds) -> Liveness {
    let mut liveness = Liveness::default();
    for (from, to) in connected(history) {
        // A shorter one proves nothing: an election may take that long.
        if to - from < bounds.leader_ms_max * 1_000_000 {
            continue;
        }
        liveness.windows += 1;
        let longest = leaderless(history, from, to);
        if longest.0 > liveness.leaderless_ns.0 {
            liveness.leaderless_ns = longest;
        }
    }
    let begin = |phase| history.phase(phase).map(|at| at.ns);
    let settled = begin(Phase::Heal).map(|ns| ns + bounds.settle_ms * 1_000_000);
    let (last, done) = (begin(Phase::Final), begin(Phase::Done));
    for op in &history.ops {
        let ns = op.invoked.ns;
        let answered = op.reply().is_some() || op.is_turned_away();
        if settled.is_some_and(|settled| ns >= settled) && last.is_none_or(|last| ns < last) {
            liveness.healed_ops += 1;
            liveness.healed_ok += u64::from(answered);
        }
        let is_final = last.is_some_and(|last| ns >= last) && done.is_none_or(|done| ns < done);
        if is_final {
            note_final(&mut liveness, op);
        }
    }
    liveness
}

fn note_final(liveness: &mut Liveness, op: &Op) {
    match (op.success().is_some(), op.asked.call.is_mutation()) {
        (true, true) => liveness.final_writes += 1,
        (true, false) => liveness.final_reads += 1,
        (false, _) => {
            liveness.final_failure.get_or_insert(op.id);
        }
    }
}

/// Stretches of time in which a majority was connected, in nanoseconds.
fn connected(history: &History) -> Vec<(u64, u64)> {
    let mut stretches = Vec::new();
    let mut from = Some(0);
    for (at, reachable) in history.majority() {
        match (from, reachable) {
            (None, true) => from = Some(at.ns),
            (Some(began), false) => {
                stretches.push((began, at.ns));
                from = None;
            }
            (Some(_), true) | (None, false) => {}
        }
    }
    stretches.extend(from.map(|from| (from, history.end.ns)));
    stretches
}

/// The longest time between two looks at a leader in a stretch, and when it began. A node that
/// only believes to lead an old term does not count.
fn leaderless(history: &History, from: u64, to: u64) -> (u64, u64) {
    let mut term = 0;
    let mut seen = from;
    let mut longest = (0, from);
    let mut note = |seen: u64, now: u64| {
        if now - seen > longest.0 {
            longest = (now - seen, seen);
        }
    };
    for sample in &history.samples {
        let leads = sample.role == RaftRole::Leader && sample.term >= term;
        term = term.max(sample.term);
        if leads && (from..=to).contains(&sample.at.ns) {
            note(seen, sample.at.ns);
            seen = sample.at.ns;
        }
    }
    note(seen, to);
    longest
}

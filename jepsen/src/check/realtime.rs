//! Compares the order of the log with the order of real time.

use crate::history::History;
use crate::history::ids::{IdempotencyKey, OpId};
use crate::history::op::Op;
use std::collections::BTreeSet;

/// What the sweep came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Operations that were compared with all that had ended before they began.
    pub compared: u64,
    /// Those that began after another one had ended and claim to be before it.
    pub inversions: Vec<Inversion>,
}

/// Two operations whose order in the log is not that in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inversion {
    /// The one that had ended.
    pub earlier: OpId,
    /// The one that began after that, and claims an index that is too low.
    pub later: OpId,
}

/// If A ended before B began, then A's index is not above B's; and it is below it if B is a
/// mutation that took effect, whose entry cannot have been there (law L5).
#[must_use]
pub fn sweep(history: &History) -> Sweep {
    let mut ended: Vec<(u64, u64, OpId)> =
        history.ops.iter().filter_map(|op| Some((op.ended(), op.reply()?.index, op.id))).collect();
    ended.sort_unstable();
    let mut sweep = Sweep::default();
    let mut keys = BTreeSet::new();
    let (mut next, mut highest) = (0, None::<(u64, OpId)>);
    // Operations are in the order of their beginnings.
    for op in &history.ops {
        while next < ended.len() && ended[next].0 < op.invoked.order {
            let (_, index, id) = ended[next];
            if highest.is_none_or(|(known, _)| index > known) {
                highest = Some((index, id));
            }
            next += 1;
        }
        let keyed_before = seen_key(&mut keys, op);
        let Some(reply) = op.reply() else { continue };
        // The answer to a repeat is the first one's, and so is its index.
        if keyed_before {
            continue;
        }
        sweep.compared += 1;
        let strict = op.asked.call.is_mutation() && reply.answer.is_success();
        if let Some((index, earlier)) = highest
            && (index > reply.index || (strict && index == reply.index))
        {
            sweep.inversions.push(Inversion { earlier, later: op.id });
        }
    }
    sweep
}

fn seen_key<'a>(keys: &mut BTreeSet<&'a IdempotencyKey>, op: &'a Op) -> bool {
    op.asked.idempotency_key.as_ref().is_some_and(|key| !keys.insert(key))
}

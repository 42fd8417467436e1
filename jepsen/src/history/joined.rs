//! Operations with their repeats joined, for the projections.
//!
//! A mutation that is asked again under its `idempotency-key` has one effect (`contract §10`). An
//! outside checker knows no such keys: to it a repeat would be a second write, and a history that
//! is legal would look wrong.

use std::collections::BTreeMap;

use super::History;
use super::ids::{IdempotencyKey, SecretId};
use super::op::{Op, Reply, Stamp};

/// An operation and its repeats.
#[derive(Debug, Clone)]
pub struct Joined<'a> {
    /// The operations, as they began; the first one stands for all of them.
    pub ops: Vec<&'a Op>,
    /// The success of the one that was answered first, if any was.
    pub success: Option<(Stamp, &'a Reply)>,
}

impl<'a> Joined<'a> {
    fn alone(op: &'a Op) -> Self {
        Self { ops: vec![op], success: success(op) }
    }

    fn join(&mut self, repeat: &'a Op) {
        self.ops.push(repeat);
        let both = [self.success, success(repeat)].into_iter().flatten();
        self.success = both.min_by_key(|(at, _)| at.order);
    }

    /// The one that began first.
    #[must_use]
    pub fn first(&self) -> &'a Op {
        self.ops[0]
    }
}

fn success(op: &Op) -> Option<(Stamp, &Reply)> {
    let (at, _) = op.completed.as_ref()?;
    op.success().map(|reply| (*at, reply))
}

/// All operations that succeeded or may have had an effect, in the order of their beginnings.
#[must_use]
pub fn join_repeats(history: &History) -> Vec<Joined<'_>> {
    let mut joined: Vec<Joined<'_>> = Vec::new();
    let mut keyed: BTreeMap<(&SecretId, &IdempotencyKey), usize> = BTreeMap::new();
    for op in &history.ops {
        if op.success().is_none() && !op.may_have_effect() {
            continue;
        }
        let key = op.asked.idempotency_key.as_ref().filter(|_| op.may_have_effect());
        if let (Some(secret), Some(key)) = (op.secret(), key) {
            let place = *keyed.entry((secret, key)).or_insert(joined.len());
            if let Some(first) = joined.get_mut(place)
                && first.first().asked.call == op.asked.call
            {
                first.join(op);
                continue;
            }
        }
        joined.push(Joined::alone(op));
    }
    joined
}

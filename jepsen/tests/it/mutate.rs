//! Ways to break a history. What comes out may still be legal; that is for the oracle to say.

use lockbox_jepsen::history::History;
use lockbox_jepsen::history::answer::{Answer, Code};
use lockbox_jepsen::history::ids::{OpId, ValueHash};
use lockbox_jepsen::history::op::{Failure, Op, Outcome};
use lockbox_jepsen::model::dice::Dice;

/// A way to break a history; says whether it found something to break.
pub(crate) type Mutator = fn(&mut History, &mut Dice) -> bool;

pub(crate) const MUTATORS: [(&str, Mutator); 9] = [
    ("drop an acknowledged write", drop_write),
    ("swap the answers of two reads", swap_reads),
    ("shift a read before a write", shift_read),
    ("shift a write behind a read", shift_write),
    ("duplicate an effect", duplicate_effect),
    ("invent a value", invent_value),
    ("answer what was true before", answer_stale),
    ("end before it can have happened", end_early),
    ("begin after it can have happened", begin_late),
];

/// Ways to break what the index says, and nothing else: for those who believe it.
pub(crate) const INDEX_MUTATORS: [(&str, Mutator); 4] = [
    ("claim the index before", claim_lower),
    ("claim the index behind", claim_higher),
    ("swap two indexes", swap_indexes),
    ("claim the index of another", claim_anothers),
];

fn pick(history: &History, dice: &mut Dice, fits: impl Fn(&Op) -> bool) -> Option<usize> {
    let fitting: Vec<usize> =
        (0..history.ops.len()).filter(|place| fits(&history.ops[*place])).collect();
    (!fitting.is_empty()).then(|| fitting[dice.place(fitting.len())])
}

fn is_read(op: &Op) -> bool {
    op.success().is_some() && !op.asked.call.is_mutation()
}

fn is_write(op: &Op) -> bool {
    op.success().is_some() && op.asked.call.is_mutation()
}

fn answer(op: &mut Op) -> Option<&mut Answer> {
    match &mut op.completed {
        Some((_, Outcome::Ok(reply))) => Some(&mut reply.answer),
        _ => None,
    }
}

fn drop_write(history: &mut History, dice: &mut Dice) -> bool {
    let fits = |op: &Op| is_write(op) && op.asked.call.secret().is_some();
    let Some(place) = pick(history, dice, fits) else { return false };
    if let Some((_, outcome)) = &mut history.ops[place].completed {
        let message = "it never happened".to_owned();
        *outcome = Outcome::Fail(Failure { code: Code::Unavailable, message });
    }
    true
}

fn swap_reads(history: &mut History, dice: &mut Dice) -> bool {
    let Some(one) = pick(history, dice, is_read) else { return false };
    let call = history.ops[one].asked.call.clone();
    let fits = |op: &Op| is_read(op) && op.asked.call == call;
    let Some(other) = pick(history, dice, fits) else { return false };
    let taken = answer(&mut history.ops[one]).cloned();
    let given = answer(&mut history.ops[other]).cloned();
    let (Some(taken), Some(given)) = (taken, given) else { return false };
    if taken == given {
        return false;
    }
    *answer(&mut history.ops[one]).unwrap() = given;
    *answer(&mut history.ops[other]).unwrap() = taken;
    true
}

/// Makes room between any two stamps.
pub(crate) fn spread(history: &mut History) {
    for op in &mut history.ops {
        op.invoked.order *= 16;
        if let Some((at, _)) = &mut op.completed {
            at.order *= 16;
        }
    }
}

/// Operations are numbered in the order of their beginnings; some have just been moved.
pub(crate) fn numbered(mut history: History) -> History {
    history.ops.sort_by_key(|op| op.invoked.order);
    for (op, id) in history.ops.iter_mut().zip(0..) {
        op.id = OpId(id);
    }
    history
}

/// Puts an operation right before (or behind) a moment.
fn put(op: &mut Op, order: u64) {
    op.invoked.order = order;
    if let Some((at, _)) = &mut op.completed {
        at.order = order + 1;
    }
}

fn shift_read(history: &mut History, dice: &mut Dice) -> bool {
    let Some(read) = pick(history, dice, is_read) else { return false };
    let secret = history.ops[read].secret().cloned();
    let fits = |op: &Op| is_write(op) && op.secret() == secret.as_ref();
    let Some(write) = pick(history, dice, fits) else { return false };
    let before = history.ops[write].invoked.order;
    put(&mut history.ops[read], before - 4);
    true
}

fn shift_write(history: &mut History, dice: &mut Dice) -> bool {
    let Some(write) = pick(history, dice, is_write) else { return false };
    let secret = history.ops[write].secret().cloned();
    let fits = |op: &Op| is_read(op) && op.secret() == secret.as_ref();
    let Some(read) = pick(history, dice, fits) else { return false };
    let after = history.ops[read].ended();
    put(&mut history.ops[write], after + 4);
    true
}

fn duplicate_effect(history: &mut History, dice: &mut Dice) -> bool {
    let listed = |op: &Op| match op.reply().map(|reply| &reply.answer) {
        Some(Answer::Versions(list)) => !list.versions.is_empty(),
        _ => false,
    };
    if let Some(place) = pick(history, dice, listed)
        && let Some(Answer::Versions(list)) = answer(&mut history.ops[place])
    {
        let again = list.versions[0].clone();
        list.versions.insert(0, again);
        return true;
    }
    let Some(one) = pick(history, dice, is_write) else { return false };
    let Some(other) = pick(history, dice, is_write) else { return false };
    let copied = answer(&mut history.ops[one]).cloned();
    if one == other || copied.is_none() {
        return false;
    }
    *answer(&mut history.ops[other]).unwrap() = copied.unwrap();
    true
}

fn invent_value(history: &mut History, dice: &mut Dice) -> bool {
    let payload = |op: &Op| match op.reply().map(|reply| &reply.answer) {
        Some(Answer::Payload(view)) => !view.entries.is_empty(),
        _ => false,
    };
    let Some(place) = pick(history, dice, payload) else { return false };
    if let Some(Answer::Payload(view)) = answer(&mut history.ops[place]) {
        view.entries[0].value = ValueHash([0xee; 16]);
    }
    true
}

/// A read answers what an earlier one of the same was answered, index and all.
fn answer_stale(history: &mut History, dice: &mut Dice) -> bool {
    let Some(late) = pick(history, dice, is_read) else { return false };
    let (call, invoked) = (history.ops[late].asked.call.clone(), history.ops[late].invoked.order);
    let fits = |op: &Op| is_read(op) && op.asked.call == call && op.ended() < invoked;
    let Some(early) = pick(history, dice, fits) else { return false };
    let reply = history.ops[early].reply().cloned();
    if reply == history.ops[late].reply().cloned() {
        return false;
    }
    if let (Some((_, outcome)), Some(reply)) = (&mut history.ops[late].completed, reply) {
        *outcome = Outcome::Ok(reply);
    }
    true
}

/// The end of an operation moves to right behind its beginning.
fn end_early(history: &mut History, dice: &mut Dice) -> bool {
    let long = |op: &Op| op.success().is_some() && op.ended() > op.invoked.order + 16;
    let Some(place) = pick(history, dice, long) else { return false };
    let op = &mut history.ops[place];
    if let Some((at, _)) = &mut op.completed {
        at.order = op.invoked.order + 1;
    }
    true
}

/// The beginning of an operation moves to right before its end.
fn begin_late(history: &mut History, dice: &mut Dice) -> bool {
    let long = |op: &Op| op.success().is_some() && op.ended() > op.invoked.order + 16;
    let Some(place) = pick(history, dice, long) else { return false };
    history.ops[place].invoked.order = history.ops[place].ended() - 1;
    true
}

fn index(op: &mut Op) -> Option<&mut u64> {
    match &mut op.completed {
        Some((_, Outcome::Ok(reply))) => Some(&mut reply.index),
        _ => None,
    }
}

fn decided(op: &Op) -> bool {
    op.reply().is_some()
}

fn claim_lower(history: &mut History, dice: &mut Dice) -> bool {
    let Some(place) = pick(history, dice, decided) else { return false };
    let Some(index) = index(&mut history.ops[place]).filter(|index| **index > 0) else {
        return false;
    };
    *index -= 1;
    true
}

fn claim_higher(history: &mut History, dice: &mut Dice) -> bool {
    let Some(place) = pick(history, dice, decided) else { return false };
    index(&mut history.ops[place]).map(|index| *index += 1).is_some()
}

fn swap_indexes(history: &mut History, dice: &mut Dice) -> bool {
    let Some(one) = pick(history, dice, decided) else { return false };
    let Some(other) = pick(history, dice, decided) else { return false };
    let (Some(taken), Some(given)) =
        (index(&mut history.ops[one]).copied(), index(&mut history.ops[other]).copied())
    else {
        return false;
    };
    *index(&mut history.ops[one]).unwrap() = given;
    *index(&mut history.ops[other]).unwrap() = taken;
    taken != given
}

fn claim_anothers(history: &mut History, dice: &mut Dice) -> bool {
    let Some(one) = pick(history, dice, decided) else { return false };
    let Some(other) = pick(history, dice, decided) else { return false };
    let Some(taken) = index(&mut history.ops[other]).copied() else { return false };
    let Some(index) = index(&mut history.ops[one]).filter(|index| **index != taken) else {
        return false;
    };
    *index = taken;
    true
}

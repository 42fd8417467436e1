//! L6, of keys: after a key of the KMS is switched off, nothing that starts later is opened or
//! sealed with it, unless switching it on may have happened between.
//!
//! Peers promise that after hours; here the acknowledgement is the fence.

use std::collections::BTreeMap;

use crate::check::fences::{Fence, Span};
use crate::check::laws::{Violation, ms};
use crate::history::History;
use crate::history::answer::{Answer, Code};
use crate::history::call::Call;
use crate::history::ids::{KmsKeyId, OpId, SecretId};
use crate::history::key_switch::SwitchStep;
use crate::history::op::{Failure, Op, Outcome};

/// What a history shows of keys.
#[derive(Default)]
pub(super) struct Looked {
    /// How often a key was switched off, and that acknowledged.
    pub(super) switched_off: u64,
    /// Operations that have used such a key.
    pub(super) uses: u64,
    /// Operations that began while their key was certainly off, and were answered because of that
    /// or succeeded all the same. Without them the law holds over nothing.
    pub(super) tried_while_off: u64,
    /// The first use of a key that was off: when it began, and what shows it.
    pub(super) violation: Option<(u64, Violation)>,
}

/// The switches of one key. A span's `op` is the place of the step that ended it, or of that which
/// began it where nothing has ended it.
#[derive(Default)]
struct Switches {
    asked: u64,
    off: Vec<Span>,
    on: Vec<Span>,
}

/// Looks at all keys that were switched.
pub(super) fn check(history: &History) -> Looked {
    let own_keys = own_keys(history);
    let mut looked = Looked::default();
    let mut fences: BTreeMap<&KmsKeyId, Fence> = BTreeMap::new();
    for (key, Switches { off, on, .. }) in switches(history) {
        looked.switched_off += off.len() as u64;
        if !off.is_empty() {
            fences.insert(key, Fence::new(off, on));
        }
    }
    for op in history.ops.iter().filter(|op| asks_for_key(op)) {
        let key = op.secret().and_then(|secret| own_keys.get(secret).copied());
        let Some((key, fence)) = key.and_then(|key| fences.get_key_value(key)) else { continue };
        let has_used = op.success().is_some();
        let beginning = Span { to: op.invoked.order, ..op.into() };
        let was_off = fence.closed_before(beginning).is_some();
        looked.tried_while_off += u64::from(was_off && (has_used || is_told_off(op)));
        if !has_used {
            continue;
        }
        looked.uses += 1;
        // Operations are in the order of their beginnings.
        if looked.violation.is_none()
            && let Some(closing) = fence.closed_before(op.into())
        {
            looked.violation = Some((op.invoked.order, describe(history, key, closing, op)));
        }
    }
    looked
}

fn switches(history: &History) -> BTreeMap<&KmsKeyId, Switches> {
    let mut keys: BTreeMap<&KmsKeyId, Switches> = BTreeMap::new();
    for (place, event) in (0..).zip(&history.key_switches) {
        let of = keys.entry(&event.key).or_default();
        let (op, at) = (OpId(place), event.at.order);
        match (event.step, event.on) {
            (SwitchStep::Asked, on) => {
                of.asked = at;
                if on {
                    of.on.push(Span { op, from: at, to: u64::MAX });
                }
            }
            (SwitchStep::Acknowledged, false) => of.off.push(Span { op, from: of.asked, to: at }),
            (SwitchStep::Acknowledged, true) => {
                if let Some(last) = of.on.last_mut() {
                    (last.op, last.to) = (op, at);
                }
            }
        }
    }
    keys
}

fn own_keys(history: &History) -> BTreeMap<&SecretId, &KmsKeyId> {
    let mut own_keys = BTreeMap::new();
    for reply in history.ops.iter().filter_map(Op::success) {
        if let Answer::Secret(view) = &reply.answer
            && let Some(key) = &view.kms_key
        {
            own_keys.insert(&view.id, key);
        }
    }
    own_keys
}

/// Whether it can succeed only with the key. A repeat under an idempotency key is answered with what
/// was done before.
fn asks_for_key(op: &Op) -> bool {
    match &op.asked.call {
        Call::GetPayload(_) => true,
        Call::AddVersion(_) => op.asked.idempotency_key.is_none(),
        _ => false,
    }
}

/// Whether it was refused because the key is off: what the KMS refuses is not proposed, while what
/// the state of the nodes refuses has an index.
fn is_told_off(op: &Op) -> bool {
    let is_refusal = |failure: &Failure| failure.code == Code::FailedPrecondition;
    matches!(&op.completed, Some((_, Outcome::Fail(failure))) if is_refusal(failure))
}

fn describe(history: &History, key: &KmsKeyId, closing: OpId, op: &Op) -> Violation {
    let place = usize::try_from(closing.0).unwrap_or(usize::MAX);
    let ended = history.key_switches.get(place).map_or(0, |event| event.at.ns);
    let sentence = format!(
        "{} #{} succeeded with key {key}, though switching it off had been acknowledged {} before \
         it began",
        op.asked.call.name(),
        op.id,
        ms(ended, op.invoked.ns)
    );
    Violation { ops: vec![op.id], sentence }
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, add, entries, get, payload, secret, version};
    use crate::history::jsonl;

    use super::*;

    use SwitchStep::{Acknowledged, Asked};

    /// A secret with the key `key`.
    fn script() -> Script {
        let mut script = Script::new();
        let Answer::Secret(mut view) = secret(None) else { unreachable!() };
        view.kms_key = Some("key".into());
        script.done(get(), Answer::Secret(view), 1);
        script
    }

    fn switch(script: &mut Script, on: bool) {
        script.key_switch(on, Asked);
        script.key_switch(on, Acknowledged);
    }

    fn read(script: &mut Script) -> OpId {
        script.done(payload(None), entries("v1", &[("a", 1)]), 9)
    }

    fn added(script: &mut Script, key: Option<&'static str>) {
        script.key = key;
        script.done(add("d", &[("a", 2)]), Answer::Version(version("v2", "d", &["a"])), 9);
        script.key = None;
    }

    fn sentence(script: Script) -> Option<String> {
        check(&script.history()).violation.map(|(_, violation)| violation.sentence)
    }

    #[test]
    fn uses_before_beside_and_after_the_key_is_off_hold_and_are_counted() {
        let mut script = script();
        read(&mut script);
        script.key_switch(false, Asked);
        read(&mut script);
        let beside = script.begin(payload(None));
        script.key_switch(false, Acknowledged);
        script.ok(beside, entries("v1", &[("a", 1)]), 9);
        // What was done before under a key is told again.
        added(&mut script, Some("k"));
        script.key_switch(true, Asked);
        read(&mut script);
        script.key_switch(true, Acknowledged);
        read(&mut script);
        added(&mut script, None);
        let looked = check(&script.history());
        assert_eq!((looked.switched_off, looked.uses, looked.tried_while_off), (1, 6, 0));
        assert_eq!(looked.violation, None);
    }

    #[test]
    fn a_use_that_begins_when_the_key_is_off_is_a_violation() {
        let mut reads = script();
        switch(&mut reads, false);
        switch(&mut reads, true);
        switch(&mut reads, false);
        read(&mut reads);
        let expected = "get_payload #1 succeeded with key key, though switching it off had been \
                        acknowledged 1.000 ms before it began";
        assert_eq!(sentence(reads).as_deref(), Some(expected));
        let mut adds = script();
        switch(&mut adds, false);
        added(&mut adds, None);
        assert!(sentence(adds).unwrap().starts_with("add_version #1 succeeded"));
    }

    #[test]
    fn only_what_begins_while_the_key_is_off_and_is_told_so_was_tried() {
        let mut script = script();
        let refused_at = |script: &mut Script, code| {
            let read = script.begin(payload(None));
            script.fail_with(read, code);
        };
        refused_at(&mut script, Code::FailedPrecondition);
        let beside = script.begin(payload(None));
        switch(&mut script, false);
        script.fail_with(beside, Code::FailedPrecondition);
        refused_at(&mut script, Code::FailedPrecondition);
        // Nobody was there to tell anything of the key.
        refused_at(&mut script, Code::Unavailable);
        // It ends when the key may be on, and began when it was off.
        let across = script.begin(payload(None));
        script.key_switch(true, Asked);
        script.fail_with(across, Code::FailedPrecondition);
        refused_at(&mut script, Code::FailedPrecondition);
        script.key_switch(true, Acknowledged);
        let looked = check(&script.history());
        assert_eq!((looked.tried_while_off, looked.uses), (2, 0));
        assert_eq!(looked.violation, None);
    }

    #[test]
    fn what_was_asked_for_and_not_acknowledged_may_have_happened() {
        let mut off = script();
        off.key_switch(false, Asked);
        read(&mut off);
        assert_eq!(sentence(off), None);
        let mut on = script();
        switch(&mut on, false);
        on.key_switch(true, Asked);
        read(&mut on);
        assert_eq!(sentence(on), None);
    }

    #[test]
    fn a_file_tells_of_switches() {
        let mut script = script();
        switch(&mut script, false);
        let history = script.history();
        let mut file = Vec::new();
        jsonl::write_line(&mut file, &history.header).unwrap();
        for event in history.events() {
            jsonl::write_line(&mut file, &event).unwrap();
        }
        assert_eq!(jsonl::read(file.as_slice()).unwrap(), history);
    }
}

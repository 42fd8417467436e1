//! A history as operations on one register for each secret: its current version.
//!
//! The projection for outside checkers. It leaves out what is no operation on that register, and
//! what certainly had no effect; it is weaker than our own checks and independent of them.

use std::collections::BTreeMap;

use super::answer::Answer;
use super::call::Call;
use super::ids::{OpId, ProcessId, SecretId, VersionId};
use super::joined::{Joined, join_repeats};
use super::makers::Makers;
use super::op::Stamp;
use super::recorded::History;

/// One operation on a register. Versions are numbered in each secret from 1; 0 is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterOp {
    /// The operation of the history; of one that was repeated, the first.
    pub op: OpId,
    /// Who asked.
    pub process: ProcessId,
    /// Number of the secret.
    pub key: u64,
    /// What it does.
    pub action: RegisterAction,
    /// When it began.
    pub invoked: Stamp,
    /// When it ended; absent if it may have happened at any time since, or never.
    pub returned: Option<Stamp>,
}

/// What an operation does to a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterAction {
    /// Reads a version.
    Read(u64),
    /// Makes a version current.
    Write(u64),
    /// Makes one current in place of another.
    Swap {
        /// The one that has to be current.
        from: u64,
        /// The one that is afterwards.
        to: u64,
    },
}

/// Numbers secrets, and versions within them, as they appear.
#[derive(Debug, Default)]
pub struct Numbers {
    keys: BTreeMap<SecretId, u64>,
    versions: BTreeMap<SecretId, BTreeMap<VersionId, u64>>,
    /// How many numbers of each secret are given away.
    given: BTreeMap<SecretId, u64>,
}

impl Numbers {
    /// The number of a secret.
    pub fn key(&mut self, secret: &SecretId) -> u64 {
        let next = self.keys.len() as u64;
        *self.keys.entry(secret.clone()).or_insert(next)
    }

    /// The number of a version.
    pub fn version(&mut self, secret: &SecretId, version: &VersionId) -> u64 {
        let known = self.versions.get(secret).and_then(|versions| versions.get(version));
        if let Some(number) = known {
            return *number;
        }
        let number = self.fresh(secret);
        self.versions.entry(secret.clone()).or_default().insert(version.clone(), number);
        number
    }

    /// A number for a version that nobody ever saw.
    pub fn fresh(&mut self, secret: &SecretId) -> u64 {
        let given = self.given.entry(secret.clone()).or_insert(0);
        *given += 1;
        *given
    }

    /// The number of the version that an operation made or may have made.
    pub fn made(&mut self, makers: &Makers, joined: &Joined<'_>, secret: &SecretId) -> u64 {
        match joined.ops.iter().find_map(|op| makers.made_by(op.id)) {
            Some((secret, version)) => self.version(secret, version),
            None => self.fresh(secret),
        }
    }
}

/// The projection, in the order of invocations.
#[must_use]
pub fn register(history: &History, makers: &Makers) -> Vec<RegisterOp> {
    let mut numbers = Numbers::default();
    let mut projected = Vec::new();
    for joined in join_repeats(history) {
        let first = joined.first();
        let Some(secret) = first.secret() else { continue };
        let Some(action) = action(&joined, secret, makers, &mut numbers) else { continue };
        projected.push(RegisterOp {
            op: first.id,
            process: first.asked.process,
            key: numbers.key(secret),
            action,
            invoked: first.invoked,
            returned: joined.success.map(|(at, _)| at),
        });
    }
    projected
}

fn action(
    joined: &Joined<'_>,
    secret: &SecretId,
    makers: &Makers,
    numbers: &mut Numbers,
) -> Option<RegisterAction> {
    let call = &joined.first().asked.call;
    let answer = joined.success.map(|(_, reply)| &reply.answer);
    let written = match (call, answer) {
        (Call::CreateSecret(call), Some(_)) => match call.first {
            Some(_) => numbers.made(makers, joined, secret),
            None => 0,
        },
        (Call::AddVersion(_), _) => numbers.made(makers, joined, secret),
        (Call::SetCurrentVersion(call), _) => numbers.version(secret, &call.version),
        (Call::GetSecret(_), Some(Answer::Secret(view))) => {
            let current = view.current.as_ref();
            let read = current.map_or(0, |version| numbers.version(secret, &version.id));
            return Some(RegisterAction::Read(read));
        }
        (Call::GetPayload(call), Some(Answer::Payload(view))) if call.version.is_none() => {
            return Some(RegisterAction::Read(numbers.version(secret, &view.version)));
        }
        _ => return None,
    };
    Some(match call.if_version() {
        Some(from) => RegisterAction::Swap { from: numbers.version(secret, from), to: written },
        None => RegisterAction::Write(written),
    })
}

#[cfg(test)]
mod tests {
    use crate::check::script::{Script, add, create, secret, version};

    use super::*;

    /// The repeat is answered after another version became current: a second write would make
    /// every later read of that one wrong.
    #[test]
    fn a_repeat_writes_nothing_of_its_own() {
        let mut script = Script::new();
        script.done(create(&[("a", 1)]), secret(Some(version("v1", "first", &["a"]))), 1);
        script.key = Some("k");
        let lost = script.begin(add("second", &[("b", 2)]));
        script.info(lost);
        script.key = None;
        let third = Answer::Version(version("v3", "third", &["a", "b", "c"]));
        script.done(add("third", &[("c", 3)]), third, 3);
        script.key = Some("k");
        let second = Answer::Version(version("v2", "second", &["a", "b"]));
        script.done(add("second", &[("b", 2)]), second, 2);
        let history = script.history();
        let ops = register(&history, &Makers::find(&history));
        let actions: Vec<RegisterAction> = ops.iter().map(|op| op.action).collect();
        assert_eq!(actions, [1, 2, 3].map(RegisterAction::Write));
        assert_eq!(ops[1].op, lost);
        let answered = history.ops[3].completed.as_ref().map(|(at, _)| *at);
        assert_eq!(ops[1].returned, answered);
    }
}

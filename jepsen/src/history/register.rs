//! A history as operations on one register for each secret: its current version.
//!
//! The projection for outside checkers. It leaves out what is no operation on that register, and
//! what certainly had no effect; it is weaker than our own checks and independent of them.

use std::collections::BTreeMap;

use super::answer::Answer;
use super::call::Call;
use super::ids::{OpId, ProcessId, SecretId, VersionId};
use super::makers::Makers;
use super::op::{Op, Stamp};
use super::recorded::History;

/// One operation on a register. Versions are numbered in each secret from 1; 0 is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterOp {
    /// The operation of the history.
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
    pub fn made(&mut self, makers: &Makers, op: OpId, secret: &SecretId) -> u64 {
        match makers.made_by(op) {
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
    for op in &history.ops {
        let known = op.success().is_some();
        if !known && !op.may_have_effect() {
            continue;
        }
        let Some(secret) = op.secret() else { continue };
        let Some(action) = action(op, secret, makers, &mut numbers) else { continue };
        projected.push(RegisterOp {
            op: op.id,
            process: op.asked.process,
            key: numbers.key(secret),
            action,
            invoked: op.invoked,
            returned: op.completed.as_ref().filter(|_| known).map(|(at, _)| *at),
        });
    }
    projected
}

fn action(
    op: &Op,
    secret: &SecretId,
    makers: &Makers,
    numbers: &mut Numbers,
) -> Option<RegisterAction> {
    let answer = op.success().map(|reply| &reply.answer);
    let written = match (&op.asked.call, answer) {
        (Call::CreateSecret(call), Some(_)) => match call.first {
            Some(_) => numbers.made(makers, op.id, secret),
            None => 0,
        },
        (Call::AddVersion(_), _) => numbers.made(makers, op.id, secret),
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
    Some(match op.asked.call.if_version() {
        Some(from) => RegisterAction::Swap { from: numbers.version(secret, from), to: written },
        None => RegisterAction::Write(written),
    })
}

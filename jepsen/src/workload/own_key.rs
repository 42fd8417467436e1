//! Secrets with a KMS key of their own: every read of a payload and every version is billed (L11).

use super::Generator;
use super::life::Known;
use super::subject::{Subject, Turn, Wish, get_payload, get_secret};
use super::weighted::draw;
use crate::client::request::Request;
use crate::history::ids::KmsKeyId;
use crate::history::op::Outcome;

/// About how many operations a secret gets.
const OPS: u64 = 150;

#[derive(Debug, Clone, Copy)]
enum Choice {
    Add,
    SetCurrent,
    GetPayload,
    GetOldPayload,
    GetSecret,
}

const CHOICES: [(u64, Choice); 5] = [
    (28, Choice::Add),
    (8, Choice::SetCurrent),
    (44, Choice::GetPayload),
    (10, Choice::GetOldPayload),
    (10, Choice::GetSecret),
];

/// See the file.
#[derive(Debug, Clone)]
pub struct OwnKey {
    subject: Subject,
    key: Option<KmsKeyId>,
}

impl OwnKey {
    /// Before the first secret.
    #[must_use]
    pub const fn new(subject: Subject, key: Option<KmsKeyId>) -> Self {
        Self { subject, key }
    }

    fn ask(&mut self, known: &Known) -> Request {
        let subject = &mut self.subject;
        match draw(&mut subject.material.random, &CHOICES) {
            Choice::Add => {
                let changes = subject.some_entries();
                subject.add(known, changes, None, None)
            }
            Choice::SetCurrent => match subject.some_version(known) {
                Some(version) => subject.set_current(known, version, None),
                None => get_secret(known),
            },
            Choice::GetPayload => get_payload(known, None),
            Choice::GetOldPayload => get_payload(known, subject.some_version(known)),
            Choice::GetSecret => get_secret(known),
        }
    }
}

impl Generator for OwnKey {
    fn next(&mut self, _seat: usize) -> Option<Request> {
        match self.subject.turn() {
            Turn::Repeat(request) => Some(request),
            Turn::Wait => None,
            Turn::Create => {
                let entries = self.subject.some_entries();
                let kms_key = self.key.clone();
                Some(self.subject.create(Wish { entries, kms_key, ..Wish::default() }))
            }
            Turn::Use(known) => Some(self.ask(&known)),
        }
    }

    fn observe(&mut self, request: &Request, outcome: &Outcome) {
        self.subject.observe(request, outcome, OPS);
    }
}

//! Secrets that are deleted while they are used, some of them protected at first (L4, L6).

use super::Generator;
use super::life::Known;
use super::subject::{Subject, Turn, Wish, get_payload, get_secret, list_versions};
use super::weighted::draw;
use crate::client::request::Request;
use crate::history::call::Call;
use crate::history::op::Outcome;

/// About how many operations a secret gets, those after its deletion included.
const OPS: u64 = 40;

#[derive(Debug, Clone, Copy)]
enum Choice {
    Add,
    Protect,
    Delete,
    GetPayload,
    GetSecret,
    List,
}

const CHOICES: [(u64, Choice); 6] = [
    (16, Choice::Add),
    (6, Choice::Protect),
    (6, Choice::Delete),
    (40, Choice::GetPayload),
    (22, Choice::GetSecret),
    (10, Choice::List),
];

/// See the file.
#[derive(Debug, Clone)]
pub struct Deletion(Subject);

impl Deletion {
    /// Before the first secret.
    #[must_use]
    pub const fn new(subject: Subject) -> Self {
        Self(subject)
    }

    fn ask(&mut self, known: &Known) -> Request {
        let subject = &mut self.0;
        match draw(&mut subject.material.random, &CHOICES) {
            Choice::Add => {
                let changes = subject.some_entries();
                subject.add(known, changes, None, None)
            }
            Choice::Protect => {
                let to = !known.protected;
                subject.update(known, |update| update.deletion_protection = Some(to))
            }
            Choice::Delete => subject.change(known, Call::DeleteSecret),
            Choice::GetPayload => get_payload(known, None),
            Choice::GetSecret => get_secret(known),
            Choice::List => list_versions(known),
        }
    }
}

impl Generator for Deletion {
    fn next(&mut self, _seat: usize) -> Option<Request> {
        match self.0.turn() {
            Turn::Repeat(request) => Some(request),
            Turn::Wait => None,
            Turn::Create => {
                let entries = self.0.some_entries();
                let protected = self.0.material.random.chance(30);
                Some(self.0.create(Wish { entries, protected, ..Wish::default() }))
            }
            Turn::Use(known) => {
                // A few more looks at what is gone, and on to the next one.
                if known.gone && self.0.material.random.chance(15) {
                    self.0.leave();
                }
                Some(self.ask(&known))
            }
        }
    }

    fn observe(&mut self, request: &Request, outcome: &Outcome) {
        self.0.observe(request, outcome, OPS);
    }
}

//! Many workers add keys of their own to one secret, through all nodes: none may vanish (L1, L3).
//!
//! No worker names a base, so each addition is a delta on whatever is current when it is applied.

use super::Generator;
use super::SEATS_MAX;
use super::life::Known;
use super::subject::{Subject, Turn, Wish, get_payload, get_secret, list_versions};
use super::weighted::draw;
use crate::client::request::Request;
use crate::history::op::Outcome;

/// About how many operations a secret gets: every addition makes all later payloads longer.
const OPS: u64 = 110;

#[derive(Debug, Clone, Copy)]
enum Choice {
    Add,
    GetPayload,
    GetOldPayload,
    GetSecret,
    List,
}

const CHOICES: [(u64, Choice); 5] = [
    (50, Choice::Add),
    (34, Choice::GetPayload),
    (5, Choice::GetOldPayload),
    (9, Choice::GetSecret),
    (2, Choice::List),
];

/// See the file.
#[derive(Debug, Clone)]
pub struct MergeRace {
    subject: Subject,
    /// Keys that each seat has used; never one twice.
    used: [u64; SEATS_MAX],
}

impl MergeRace {
    /// Before the first secret.
    #[must_use]
    pub const fn new(subject: Subject) -> Self {
        Self { subject, used: [0; SEATS_MAX] }
    }

    fn ask(&mut self, seat: usize, known: &Known) -> Request {
        match draw(&mut self.subject.material.random, &CHOICES) {
            Choice::Add => {
                let seat = seat % SEATS_MAX;
                self.used[seat] += 1;
                let key = format!("seat-{seat}/{}", self.used[seat]);
                let change = self.subject.entry(&key);
                self.subject.add(known, vec![change], None, None)
            }
            Choice::GetPayload => get_payload(known, None),
            Choice::GetOldPayload => get_payload(known, self.subject.some_version(known)),
            Choice::GetSecret => get_secret(known),
            Choice::List => list_versions(known),
        }
    }
}

impl Generator for MergeRace {
    fn next(&mut self, seat: usize) -> Option<Request> {
        match self.subject.turn() {
            Turn::Repeat(request) => Some(request),
            Turn::Wait => None,
            Turn::Create => {
                let entries = vec![self.subject.entry("first")];
                Some(self.subject.create(Wish { entries, ..Wish::default() }))
            }
            Turn::Use(known) => Some(self.ask(seat, &known)),
        }
    }

    fn observe(&mut self, request: &Request, outcome: &Outcome) {
        self.subject.observe(request, outcome, OPS);
    }
}

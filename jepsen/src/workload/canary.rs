//! Secrets whose values are looked for afterwards in everything that the servers wrote (L12).
//!
//! They go through all that a value goes through: written, read, made current again.

use super::Generator;
use super::subject::{Subject, Turn, Wish, get_payload};
use super::weighted::draw;
use crate::client::request::Request;
use crate::history::op::Outcome;

/// About how many operations a secret gets.
const OPS: u64 = 30;

#[derive(Debug, Clone, Copy)]
enum Choice {
    Add,
    SetCurrent,
    GetPayload,
}

const CHOICES: [(u64, Choice); 3] =
    [(40, Choice::Add), (10, Choice::SetCurrent), (50, Choice::GetPayload)];

/// See the file.
#[derive(Debug, Clone)]
pub struct Canary(Subject);

impl Canary {
    /// Before the first secret.
    #[must_use]
    pub const fn new(subject: Subject) -> Self {
        Self(subject)
    }
}

impl Generator for Canary {
    fn next(&mut self, _seat: usize) -> Option<Request> {
        let subject = &mut self.0;
        let known = match subject.turn() {
            Turn::Repeat(request) => return Some(request),
            Turn::Wait => return None,
            Turn::Create => {
                let entries = subject.some_entries();
                return Some(subject.create(Wish { entries, ..Wish::default() }));
            }
            Turn::Use(known) => known,
        };
        let choice = draw(&mut subject.material.random, &CHOICES);
        let version = subject.some_version(&known);
        Some(match (choice, version) {
            (Choice::Add, _) => {
                let changes = subject.some_entries();
                subject.add(&known, changes, None, None)
            }
            (Choice::SetCurrent, Some(version)) => subject.set_current(&known, version, None),
            (Choice::SetCurrent, None) => get_payload(&known, None),
            (Choice::GetPayload, version) => get_payload(&known, version),
        })
    }

    fn observe(&mut self, request: &Request, outcome: &Outcome) {
        self.0.observe(request, outcome, OPS);
    }
}

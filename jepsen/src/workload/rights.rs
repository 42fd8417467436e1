//! A secret whose readers are given and lose their roles while they read (L7).

use super::Generator;
use super::life::Known;
use super::subject::{Subject, Turn, Wish, get_payload, get_secret};
use super::weighted::draw;
use crate::client::request::Request;
use crate::history::ids::Subject as Reader;
use crate::history::op::Outcome;

/// About how many operations a secret gets.
const OPS: u64 = 250;
/// What is granted and taken: the right to read payloads, and another one beside it.
const ROLES: [&str; 3] = ["lockbox.payloadViewer", "lockbox.payloadViewer", "lockbox.viewer"];

#[derive(Debug, Clone, Copy)]
enum Choice {
    Grant,
    Take,
    ReadPayload,
    ReadSecret,
    Add,
    LookOneself,
}

const CHOICES: [(u64, Choice); 6] = [
    (12, Choice::Grant),
    (10, Choice::Take),
    (54, Choice::ReadPayload),
    (10, Choice::ReadSecret),
    (8, Choice::Add),
    (6, Choice::LookOneself),
];

/// See the file.
#[derive(Debug, Clone)]
pub struct Rights {
    subject: Subject,
    readers: Vec<Reader>,
}

impl Rights {
    /// Before the first secret.
    #[must_use]
    pub const fn new(subject: Subject, readers: Vec<Reader>) -> Self {
        Self { subject, readers }
    }

    fn ask(&mut self, known: &Known) -> Request {
        let subject = &mut self.subject;
        let reader = subject.material.random.pick(&self.readers).cloned();
        let role = subject.material.random.pick(&ROLES).copied().unwrap_or(ROLES[0]);
        match (draw(&mut subject.material.random, &CHOICES), reader) {
            (Choice::Grant, Some(reader)) => subject.bind(known, role, reader, true),
            (Choice::Take, Some(reader)) => subject.bind(known, role, reader, false),
            (Choice::ReadPayload, reader @ Some(_)) => get_payload(known, None).by(reader),
            (Choice::ReadSecret, reader @ Some(_)) => get_secret(known).by(reader),
            (Choice::Add, _) => {
                let changes = subject.some_entries();
                subject.add(known, changes, None, None)
            }
            (Choice::LookOneself, _)
            | (Choice::Grant | Choice::Take | Choice::ReadPayload | Choice::ReadSecret, None) => {
                get_payload(known, None)
            }
        }
    }
}

impl Generator for Rights {
    fn next(&mut self, _seat: usize) -> Option<Request> {
        match self.subject.turn() {
            Turn::Repeat(request) => Some(request),
            Turn::Wait => None,
            Turn::Create => {
                let entries = self.subject.some_entries();
                Some(self.subject.create(Wish { entries, ..Wish::default() }))
            }
            Turn::Use(known) => Some(self.ask(&known)),
        }
    }

    fn observe(&mut self, request: &Request, outcome: &Outcome) {
        self.subject.observe(request, outcome, OPS);
    }
}

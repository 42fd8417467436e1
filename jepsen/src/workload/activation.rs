//! A secret that is switched off and on while it is read (L6).

use super::Generator;
use super::life::Known;
use super::subject::{Subject, Turn, Wish, get_payload, get_secret};
use super::weighted::draw;
use crate::client::request::Request;
use crate::history::call::Call;
use crate::history::op::Outcome;

/// About how many operations a secret gets.
const OPS: u64 = 250;

#[derive(Debug, Clone, Copy)]
enum Choice {
    Switch,
    SwitchBlindly,
    Add,
    SetCurrent,
    GetPayload,
    GetOldPayload,
    GetSecret,
}

const CHOICES: [(u64, Choice); 7] = [
    (12, Choice::Switch),
    (4, Choice::SwitchBlindly),
    (10, Choice::Add),
    (4, Choice::SetCurrent),
    (48, Choice::GetPayload),
    (10, Choice::GetOldPayload),
    (12, Choice::GetSecret),
];

/// See the file.
#[derive(Debug, Clone)]
pub struct Activation(Subject);

impl Activation {
    /// Before the first secret.
    #[must_use]
    pub const fn new(subject: Subject) -> Self {
        Self(subject)
    }

    fn ask(&mut self, known: &Known) -> Request {
        let subject = &mut self.0;
        match draw(&mut subject.material.random, &CHOICES) {
            Choice::Switch if known.active => subject.change(known, Call::Deactivate),
            Choice::Switch => subject.change(known, Call::Activate),
            // A switch to where it is already succeeds and changes nothing (`contract §2.2`).
            Choice::SwitchBlindly if subject.material.random.chance(50) => {
                subject.change(known, Call::Deactivate)
            }
            Choice::SwitchBlindly => subject.change(known, Call::Activate),
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

impl Generator for Activation {
    fn next(&mut self, _seat: usize) -> Option<Request> {
        match self.0.turn() {
            Turn::Repeat(request) => Some(request),
            Turn::Wait => None,
            Turn::Create => {
                let entries = self.0.some_entries();
                Some(self.0.create(Wish { entries, ..Wish::default() }))
            }
            Turn::Use(known) => Some(self.ask(&known)),
        }
    }

    fn observe(&mut self, request: &Request, outcome: &Outcome) {
        self.0.observe(request, outcome, OPS);
    }
}

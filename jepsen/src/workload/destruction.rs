//! A secret whose versions are scheduled for destruction, called back, and destroyed (L8, L2).
//!
//! Most schedules are for some seconds, so that a run sees them through; some are for an hour,
//! which nothing but a wrong clock reaches in a run of minutes.

use super::Generator;
use super::life::Known;
use super::subject::{Subject, Turn, Wish, get_payload, get_secret, list_versions};
use super::weighted::draw;
use crate::client::request::Request;
use crate::history::op::Outcome;

/// About how many operations a secret gets.
const OPS: u64 = 250;
/// A short schedule, in milliseconds: shorter and longer than most faults.
const SOON_MS: (u64, u64) = (300, 15_000);
/// A long one: within the steps of the clocks.
const LATE_MS: (u64, u64) = (600_000, 3_600_000);

#[derive(Debug, Clone, Copy)]
enum Choice {
    ScheduleSoon,
    ScheduleLate,
    Cancel,
    Add,
    SetCurrent,
    GetPayload,
    GetOldPayload,
    GetSecret,
    ListVersions,
}

const CHOICES: [(u64, Choice); 9] = [
    (8, Choice::ScheduleSoon),
    (4, Choice::ScheduleLate),
    (8, Choice::Cancel),
    (14, Choice::Add),
    (4, Choice::SetCurrent),
    (20, Choice::GetPayload),
    (16, Choice::GetOldPayload),
    (12, Choice::GetSecret),
    (14, Choice::ListVersions),
];

/// See the file.
#[derive(Debug, Clone)]
pub struct Destruction(Subject);

impl Destruction {
    /// Before the first secret.
    #[must_use]
    pub const fn new(subject: Subject) -> Self {
        Self(subject)
    }

    fn ask(&mut self, known: &Known) -> Request {
        let subject = &mut self.0;
        let choice = draw(&mut subject.material.random, &CHOICES);
        match (choice, subject.some_version(known)) {
            (Choice::ScheduleSoon, Some(version)) => {
                let pending_ms = subject.material.random.between(SOON_MS.0, SOON_MS.1);
                subject.schedule(known, version, pending_ms)
            }
            (Choice::ScheduleLate, Some(version)) => {
                let pending_ms = subject.material.random.between(LATE_MS.0, LATE_MS.1);
                subject.schedule(known, version, pending_ms)
            }
            (Choice::Cancel, Some(version)) => subject.cancel(known, version),
            (Choice::SetCurrent, Some(version)) => subject.set_current(known, version, None),
            (Choice::GetOldPayload, version) => get_payload(known, version),
            (Choice::GetPayload, _) => get_payload(known, None),
            (Choice::GetSecret, _) => get_secret(known),
            (Choice::ListVersions, _) => list_versions(known),
            // Without a version there is nothing to do but to make one.
            (
                Choice::Add
                | Choice::ScheduleSoon
                | Choice::ScheduleLate
                | Choice::Cancel
                | Choice::SetCurrent,
                _,
            ) => {
                let changes = subject.some_entries();
                subject.add(known, changes, None, None)
            }
        }
    }
}

impl Generator for Destruction {
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

//! A secret as a register with history: versions are added and made current, and everything is
//! read by everybody (L1 to L5).

use std::collections::BTreeMap;

use super::Generator;
use super::life::Known;
use super::subject::{Subject, Turn, Wish, get_payload, get_secret, list_versions};
use super::weighted::draw;
use crate::client::request::{Change, Request};
use crate::history::op::Outcome;

/// About how many operations a secret gets: the mix says the limit.
const OPS: u64 = 270;

#[derive(Debug, Clone, Copy)]
enum Choice {
    Add,
    AddOnBase,
    AddIfCurrent,
    Copy,
    SetCurrent,
    Update,
    GetSecret,
    GetPayload,
    GetOldPayload,
    List,
}

const CHOICES: [(u64, Choice); 10] = [
    (14, Choice::Add),
    (5, Choice::AddOnBase),
    (4, Choice::AddIfCurrent),
    (2, Choice::Copy),
    (11, Choice::SetCurrent),
    (4, Choice::Update),
    (16, Choice::GetSecret),
    (28, Choice::GetPayload),
    (9, Choice::GetOldPayload),
    (7, Choice::List),
];

/// See the file.
#[derive(Debug, Clone)]
pub struct Register(Subject);

impl Register {
    /// Before the first secret.
    #[must_use]
    pub const fn new(subject: Subject) -> Self {
        Self(subject)
    }

    fn ask(&mut self, known: &Known) -> Request {
        let subject = &mut self.0;
        match draw(&mut subject.material.random, &CHOICES) {
            Choice::Add => {
                let changes = changes(subject);
                subject.add(known, changes, None, None)
            }
            Choice::AddOnBase => {
                let (changes, base) = (changes(subject), subject.some_version(known));
                subject.add(known, changes, base, None)
            }
            Choice::AddIfCurrent => {
                let changes = changes(subject);
                subject.add(known, changes, None, known.current.clone())
            }
            Choice::Copy => {
                let base = subject.some_version(known);
                subject.add(known, Vec::new(), base, None)
            }
            Choice::SetCurrent => match subject.some_version(known) {
                Some(version) => {
                    let guarded = subject.material.random.chance(20);
                    let condition = known.current.clone().filter(|_| guarded);
                    subject.set_current(known, version, condition)
                }
                None => get_secret(known),
            },
            Choice::Update => {
                let label = subject.material.name();
                let described = subject.material.random.chance(50);
                subject.update(known, |update| {
                    if described {
                        update.description = Some(label);
                    } else {
                        update.labels = Some(BTreeMap::from([("round".to_owned(), label)]));
                    }
                })
            }
            Choice::GetSecret => get_secret(known),
            Choice::GetPayload => get_payload(known, None),
            Choice::GetOldPayload => get_payload(known, subject.some_version(known)),
            Choice::List => list_versions(known),
        }
    }
}

/// Some entries that are set, and at times one that is taken away.
fn changes(subject: &mut Subject) -> Vec<Change> {
    let mut changes = subject.some_entries();
    if changes.len() > 1 && subject.material.random.chance(25) {
        // The other one stays set, so the payload cannot become empty.
        changes[0].value = None;
    }
    changes
}

impl Generator for Register {
    fn next(&mut self, _seat: usize) -> Option<Request> {
        match self.0.turn() {
            Turn::Repeat(request) => Some(request),
            Turn::Wait => None,
            Turn::Create => {
                let mut wish = Wish::default();
                // One in eight begins without a version.
                if !self.0.material.random.chance(12) {
                    wish.entries = self.0.some_entries();
                }
                Some(self.0.create(wish))
            }
            Turn::Use(known) => Some(self.ask(&known)),
        }
    }

    fn observe(&mut self, request: &Request, outcome: &Outcome) {
        self.0.observe(request, outcome, OPS);
    }
}

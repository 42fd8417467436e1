//! A secret whose readers are given and lose their roles, and their tokens, while they read (L7).

use std::collections::VecDeque;

use super::Generator;
use super::life::Known;
use super::subject::{Subject, Turn, Wish, get_payload, get_secret};
use super::weighted::draw;
use crate::client::request::Request;
use crate::history::ids::{Subject as Reader, TokenId};
use crate::history::op::Outcome;

/// Tokens that a reader has beside the one that it keeps: each is made before the first operation
/// and revoked once at most.
pub const SPARE_TOKENS: usize = 40;
/// How many reads go on with a token that somebody has asked to revoke.
const LAST_READS: u32 = 12;
/// How many of a hundred reads of a reader who has such a token are by it.
const LAST_READS_PERCENT: u64 = 60;

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
    Revoke,
}

const CHOICES: [(u64, Choice); 7] = [
    (12, Choice::Grant),
    (10, Choice::Take),
    (54, Choice::ReadPayload),
    (10, Choice::ReadSecret),
    (8, Choice::Add),
    (6, Choice::LookOneself),
    (1, Choice::Revoke),
];

/// See the file.
#[derive(Debug, Clone)]
pub struct Rights {
    subject: Subject,
    readers: Vec<Tokens>,
}

/// A reader, and its tokens that may be revoked.
#[derive(Debug, Clone)]
pub struct Tokens {
    reader: Reader,
    /// Nobody has asked to revoke them; the first one is in use.
    fresh: VecDeque<TokenId>,
    /// The one that somebody has asked to revoke, and how often it is still used.
    ending: Option<(TokenId, u32)>,
}

/// The readers with the tokens that are the part of one group, of so many.
#[must_use]
pub fn tokens_of(readers: &[Reader], nth: usize, groups: usize) -> Vec<Tokens> {
    let tokens = |reader: &Reader| {
        let own = (nth..SPARE_TOKENS).step_by(groups.max(1));
        let fresh = own.map(|number| TokenId::of(reader, number)).collect();
        Tokens { reader: reader.clone(), fresh, ending: None }
    };
    readers.iter().map(tokens).collect()
}

impl Tokens {
    /// The next one to revoke. While the one before is ending there is none.
    fn revoke(&mut self) -> Option<TokenId> {
        if self.ending.is_some() {
            return None;
        }
        let token = self.fresh.pop_front()?;
        self.ending = Some((token.clone(), LAST_READS));
        Some(token)
    }

    /// A payload read by the one in use, or by the one that is ending. When none is left, by the
    /// one that the reader keeps.
    fn read(&mut self, known: &Known, by_the_ending: bool) -> Request {
        let token = match &mut self.ending {
            Some((token, left)) if by_the_ending => {
                *left -= 1;
                Some(token.clone())
            }
            _ => self.fresh.front().cloned(),
        };
        self.ending.take_if(|(_, left)| *left == 0);
        get_payload(known, None).by(Some(self.reader.clone())).with_token(token)
    }
}

impl Rights {
    /// Before the first secret.
    #[must_use]
    pub const fn new(subject: Subject, readers: Vec<Tokens>) -> Self {
        Self { subject, readers }
    }

    fn ask(&mut self, known: &Known) -> Request {
        let subject = &mut self.subject;
        let readers = u64::try_from(self.readers.len()).unwrap_or(u64::MAX);
        let place = usize::try_from(subject.material.random.below(readers.max(1))).unwrap_or(0);
        let tokens = self.readers.get_mut(place);
        let reader = tokens.as_ref().map(|tokens| tokens.reader.clone());
        let role = subject.material.random.pick(&ROLES).copied().unwrap_or(ROLES[0]);
        let choice = draw(&mut subject.material.random, &CHOICES);
        if let (Some(tokens), Choice::ReadPayload | Choice::Revoke) = (tokens, choice) {
            if matches!(choice, Choice::Revoke)
                && let Some(token) = tokens.revoke()
            {
                return Subject::revoke(token);
            }
            let ending = subject.material.random.chance(LAST_READS_PERCENT);
            return tokens.read(known, ending);
        }
        match (choice, reader) {
            (Choice::Grant, Some(reader)) => subject.bind(known, role, reader, true),
            (Choice::Take, Some(reader)) => subject.bind(known, role, reader, false),
            (Choice::ReadSecret, reader @ Some(_)) => get_secret(known).by(reader),
            (Choice::Add, _) => {
                let changes = subject.some_entries();
                subject.add(known, changes, None, None)
            }
            (Choice::LookOneself, _)
            | (Choice::ReadPayload | Choice::Revoke, _)
            | (Choice::Grant | Choice::Take | Choice::ReadSecret, None) => get_payload(known, None),
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

//! A cloud that is full nearly all the time, and whose workers race for what room there is (L17).

use super::Generator;
use super::crowd::Crowd;
use super::weighted::draw;
use crate::client::request::Request;
use crate::history::op::Outcome;

/// Secrets of a page, at least and at most: a half to all of them, for they change fast.
pub(super) const PAGE_SIZE: (u64, u64) = (12, 24);

#[derive(Debug, Clone, Copy)]
enum Choice {
    Create,
    Delete,
    Page,
    Rename,
    Get,
}

const CHOICES: [(u64, Choice); 5] = [
    (50, Choice::Create),
    (26, Choice::Delete),
    (14, Choice::Page),
    (4, Choice::Rename),
    (6, Choice::Get),
];

/// See the file.
#[derive(Debug, Clone)]
pub struct Quota(Crowd);

impl Quota {
    /// Before the first secret.
    #[must_use]
    pub const fn new(crowd: Crowd) -> Self {
        Self(crowd)
    }
}

impl Generator for Quota {
    fn next(&mut self, _seat: usize) -> Option<Request> {
        let crowd = &mut self.0;
        if let Some(request) = crowd.repeat() {
            return Some(request);
        }
        let request = match draw(&mut crowd.material.random, &CHOICES) {
            Choice::Create => None,
            Choice::Delete => crowd.delete(),
            Choice::Page => crowd.page(),
            Choice::Rename => crowd.rename(),
            Choice::Get => crowd.get(),
        };
        Some(request.unwrap_or_else(|| crowd.create()))
    }

    fn observe(&mut self, request: &Request, outcome: &Outcome) {
        self.0.observe(request, outcome);
    }
}

//! A folder that is listed page by page while secrets come, go and change their names (L16).

use super::Generator;
use super::crowd::Crowd;
use super::weighted::draw;
use crate::client::request::Request;
use crate::history::op::Outcome;

/// With fewer secrets one is made, so that a list has several pages.
const FEW: usize = 8;
/// With more one is deleted, so that a walk comes to its end; below the quota of their cloud.
const MANY: usize = 20;

/// Secrets of a page, at least and at most: few, so that a list has many pages.
pub(super) const PAGE_SIZE: (u64, u64) = (2, 6);

#[derive(Debug, Clone, Copy)]
enum Choice {
    Page,
    Create,
    Delete,
    Rename,
    Get,
}

const CHOICES: [(u64, Choice); 5] = [
    (62, Choice::Page),
    (12, Choice::Create),
    (11, Choice::Delete),
    (12, Choice::Rename),
    (3, Choice::Get),
];

/// See the file.
#[derive(Debug, Clone)]
pub struct Paging(Crowd);

impl Paging {
    /// Before the first secret.
    #[must_use]
    pub const fn new(crowd: Crowd) -> Self {
        Self(crowd)
    }
}

impl Generator for Paging {
    fn next(&mut self, _seat: usize) -> Option<Request> {
        let crowd = &mut self.0;
        if let Some(request) = crowd.repeat() {
            return Some(request);
        }
        let request = match draw(&mut crowd.material.random, &CHOICES) {
            Choice::Page => crowd.page(),
            Choice::Create if crowd.size() > MANY => crowd.delete(),
            Choice::Delete if crowd.size() < FEW => None,
            Choice::Create => None,
            Choice::Delete => crowd.delete(),
            Choice::Rename => crowd.rename(),
            Choice::Get => crowd.get(),
        };
        Some(request.unwrap_or_else(|| crowd.create()))
    }

    fn observe(&mut self, request: &Request, outcome: &Outcome) {
        self.0.observe(request, outcome);
    }
}

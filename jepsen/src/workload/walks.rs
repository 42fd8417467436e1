//! Walks through the list of a folder: each page is asked for by whoever comes next, so the pages
//! of one walk come from several nodes.

use super::SEATS_MAX;
use super::material::Material;
use crate::client::request::Request;
use crate::history::answer::Answer;
use crate::history::call::{Call, ListSecrets};
use crate::history::ids::{FolderId, PageToken, WalkId};
use crate::history::op::Outcome;

/// The most walks at a time: then no seat has to wait for another's page.
const OPEN_MAX: usize = SEATS_MAX;
/// A walk is given up after so many pages that nobody answered.
const FAILURES_MAX: u32 = 5;
/// How many of a hundred pages begin a walk, while there is room for one.
const BEGIN_PERCENT: u64 = 20;

/// The walks that have not come to their end.
#[derive(Debug, Clone)]
pub struct Walks {
    open: Vec<Walk>,
    page_size: (u64, u64),
}

#[derive(Debug, Clone)]
struct Walk {
    id: WalkId,
    page_size: u32,
    token: Option<PageToken>,
    /// Whether somebody has asked for its next page and has no answer.
    asked: bool,
    failures: u32,
}

impl Walks {
    /// None yet. Their pages are to have so many secrets, at least and at most: fewer than come
    /// meanwhile, and a walk never ends.
    #[must_use]
    pub const fn new(page_size: (u64, u64)) -> Self {
        Self { open: Vec::new(), page_size }
    }

    /// The next page of one of them, or the first of a new one. Nothing while somebody asks for
    /// each of them.
    pub fn next(&mut self, material: &mut Material, folder: &FolderId) -> Option<Request> {
        let mut waiting: Vec<usize> =
            (0..self.open.len()).filter(|place| !self.open[*place].asked).collect();
        let begins = waiting.is_empty() || material.random.chance(BEGIN_PERCENT);
        if self.open.len() < OPEN_MAX && begins {
            waiting = vec![self.open.len()];
            self.open.push(Walk::begin(material, self.page_size));
        }
        let place = *material.random.pick(&waiting)?;
        let walk = &mut self.open[place];
        walk.asked = true;
        Some(Request::new(Call::ListSecrets(ListSecrets {
            folder: folder.clone(),
            walk: walk.id.clone(),
            page_size: walk.page_size,
            token: walk.token.clone(),
        })))
    }

    /// Learns where a walk goes on.
    pub fn observe(&mut self, asked: &ListSecrets, outcome: &Outcome) {
        let Some(place) = self.open.iter().position(|walk| walk.id == asked.walk) else { return };
        let walk = &mut self.open[place];
        walk.asked = false;
        let goes_on = match outcome {
            Outcome::Ok(reply) => {
                walk.token = match &reply.answer {
                    Answer::Secrets(page) => page.next.clone(),
                    _ => None,
                };
                walk.token.is_some()
            }
            Outcome::Fail(_) | Outcome::Info(_) | Outcome::Unexpected(_) => {
                // The same page again: a token stays good.
                walk.failures += 1;
                walk.failures < FAILURES_MAX
            }
        };
        if !goes_on {
            self.open.remove(place);
        }
    }
}

impl Walk {
    fn begin(material: &mut Material, (least, most): (u64, u64)) -> Self {
        let page_size = material.random.between(least, most);
        Self {
            id: material.name().as_str().into(),
            page_size: u32::try_from(page_size).unwrap_or(1),
            token: None,
            asked: false,
            failures: 0,
        }
    }
}

//! Mutations that nobody answered and that are asked again, as a client with an
//! `idempotency-key` does: by another worker, of another node (L9).

use std::collections::VecDeque;

use crate::client::request::Request;
use crate::history::op::Outcome;
use crate::random::Random;

/// The most requests that wait for their repetition; the oldest is given up for a new one.
const WAITING_MAX: usize = 8;
/// How many of a hundred turns repeat something, while something waits.
const REPEAT_PERCENT: u64 = 50;
/// How many of a hundred answered mutations are asked again all the same.
const ANSWERED_PERCENT: u64 = 2;

/// What waits for its repetition.
#[derive(Debug, Clone, Default)]
pub struct Repeats(VecDeque<Request>);

impl Repeats {
    /// The next one, if this turn is for one.
    pub fn next(&mut self, random: &mut Random) -> Option<Request> {
        if self.0.is_empty() || !random.chance(REPEAT_PERCENT) {
            return None;
        }
        self.0.pop_front()
    }

    /// Keeps what is worth asking again.
    pub fn observe(&mut self, request: &Request, outcome: &Outcome, random: &mut Random) {
        if request.idempotency_key.is_none() {
            return;
        }
        let again = match outcome {
            Outcome::Info(_) => true,
            Outcome::Ok(reply) => reply.answer.is_success() && random.chance(ANSWERED_PERCENT),
            Outcome::Fail(_) | Outcome::Unexpected(_) => false,
        };
        if again {
            if self.0.len() == WAITING_MAX {
                self.0.pop_front();
            }
            self.0.push_back(request.clone());
        }
    }
}

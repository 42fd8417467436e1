//! What is asked, and in which order: pure generators of operations.
//!
//! Each file is the workload of one family of laws. Promises: the same seed and the same answers
//! give the same operations; what a generator knows it has learnt from answers; at most
//! [`Mix::ops_per_secret`] operations go to one secret. Knows nothing of clocks, nodes or faults.

pub mod activation;
pub mod canary;
pub mod deletion;
pub mod destruction;
pub mod life;
pub mod material;
pub mod merge_race;
pub mod mix;
pub mod own_key;
pub mod register;
pub mod repeats;
pub mod rights;
pub mod subject;
pub mod weighted;

pub use mix::{Family, Mix};

use crate::client::request::Request;
use crate::history::ids::{KmsKeyId, Subject as Reader};
use crate::history::op::Outcome;

/// The most workers that ask about one secret at a time (`verification §3.6.3`).
pub const SEATS_MAX: usize = 5;

/// Asks about one secret after another, on behalf of several workers.
pub trait Generator: Send {
    /// What the worker on this seat asks next. None when it has to wait for another's answer.
    fn next(&mut self, seat: usize) -> Option<Request>;

    /// Learns what came of a request that [`Self::next`] has given.
    fn observe(&mut self, request: &Request, outcome: &Outcome);
}

/// The generator of one key group. `group` is its number in the run, and `own_key` the KMS key
/// for secrets that have one;
/// `readers` are the accounts whose rights may come and go.
#[must_use]
pub fn generator(
    family: Family,
    group: usize,
    seed: u64,
    mix: &Mix,
    own_key: Option<&KmsKeyId>,
    readers: &[Reader],
) -> Box<dyn Generator> {
    let material = material::Material::of_group(seed, group);
    let subject = subject::Subject::new(material, *mix);
    match family {
        Family::Register => Box::new(register::Register::new(subject)),
        Family::Activation => Box::new(activation::Activation::new(subject)),
        Family::Deletion => Box::new(deletion::Deletion::new(subject)),
        Family::MergeRace => Box::new(merge_race::MergeRace::new(subject)),
        Family::OwnKey => Box::new(own_key::OwnKey::new(subject, own_key.cloned())),
        Family::Rights => Box::new(rights::Rights::new(subject, readers.to_vec())),
        Family::Canary => Box::new(canary::Canary::new(subject)),
        Family::Destruction => Box::new(destruction::Destruction::new(subject)),
    }
}

//! What is asked, and in which order: pure generators of operations.
//!
//! Each file is the workload of one family of laws. Promises: the same seed and the same answers
//! give the same operations; what a generator knows it has learnt from answers; at most
//! [`Mix::ops_per_secret`] operations go to one secret. Knows nothing of clocks, nodes or faults.

pub mod activation;
pub mod canary;
pub mod crowd;
pub mod deletion;
pub mod destruction;
pub mod life;
pub mod material;
pub mod merge_race;
pub mod mix;
pub mod own_key;
pub mod paging;
pub mod quota;
pub mod register;
pub mod repeats;
pub mod rights;
pub mod subject;
pub mod walks;
pub mod weighted;

pub use mix::{Family, Mix};

use crate::client::request::Request;
use crate::history::ids::{FolderId, KmsKeyId, Subject as Reader};
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

/// What is there before the first operation.
#[derive(Debug, Clone, Default)]
pub struct Premises {
    /// The KMS key for secrets that have one of their own.
    pub own_key: Option<KmsKeyId>,
    /// The accounts whose rights may come and go.
    pub readers: Vec<Reader>,
    /// Empty folders, each alone in its cloud: one for each group that needs one.
    pub folders: Vec<FolderId>,
}

impl Premises {
    /// The folder of a group, by its number in the run.
    fn folder_of(&self, group: usize, mix: &Mix) -> FolderId {
        let first = mix.groups().len().saturating_sub(mix.folders());
        let place = group.saturating_sub(first).min(self.folders.len().saturating_sub(1));
        // Nobody makes fewer of them than the mix has groups for.
        self.folders.get(place).cloned().unwrap_or_else(|| FolderId::from("none"))
    }
}

/// The generator of one key group. `group` is its number in the run.
#[must_use]
pub fn generator(
    family: Family,
    group: usize,
    seed: u64,
    mix: &Mix,
    premises: &Premises,
) -> Box<dyn Generator> {
    let material = material::Material::of_group(seed, group);
    let crowd = |page_size| {
        let folder = premises.folder_of(group, mix);
        crowd::Crowd::new(material.clone(), *mix, folder, page_size)
    };
    let subject = subject::Subject::new(material.clone(), *mix);
    match family {
        Family::Register => Box::new(register::Register::new(subject)),
        Family::Activation => Box::new(activation::Activation::new(subject)),
        Family::Deletion => Box::new(deletion::Deletion::new(subject)),
        Family::MergeRace => Box::new(merge_race::MergeRace::new(subject)),
        Family::OwnKey => Box::new(own_key::OwnKey::new(subject, premises.own_key.clone())),
        Family::Rights => {
            let before = mix.groups().into_iter().take(group);
            let nth = before.filter(|family| *family == Family::Rights).count();
            let tokens = rights::tokens_of(&premises.readers, nth, mix.rights);
            Box::new(rights::Rights::new(subject, tokens))
        }
        Family::Canary => Box::new(canary::Canary::new(subject)),
        Family::Destruction => Box::new(destruction::Destruction::new(subject)),
        Family::Paging => Box::new(paging::Paging::new(crowd(paging::PAGE_SIZE))),
        Family::Quota => Box::new(quota::Quota::new(crowd(quota::PAGE_SIZE))),
    }
}

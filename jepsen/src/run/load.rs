//! All workers of a run, from the moment when they begin to the moment when they have ended.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::attempt::Shared;
use super::worker::{Group, Place, Worker};
use crate::workload::{Mix, Premises, SEATS_MAX, generator};

/// The workers. They end with this value.
pub struct Load {
    workers: JoinSet<Result<()>>,
    stop: CancellationToken,
    groups: Arc<[Group]>,
}

/// How many workers a mix has.
#[must_use]
pub fn workers_of(mix: &Mix) -> usize {
    mix.groups().len() * pinned(mix) + roaming(mix)
}

fn pinned(mix: &Mix) -> usize {
    mix.pinned.clamp(1, SEATS_MAX)
}

/// Each takes a seat in every group.
fn roaming(mix: &Mix) -> usize {
    mix.roaming.min(SEATS_MAX - pinned(mix))
}

fn places(mix: &Mix) -> Vec<Place> {
    let pinned = pinned(mix);
    let groups = 0..mix.groups().len();
    let in_groups = groups.flat_map(move |group| {
        // Groups begin with different nodes, so that with more nodes than seats all are used.
        (0..pinned).map(move |seat| Place::Pinned { group, seat, nth: group + seat })
    });
    let roaming = (0..roaming(mix)).map(|n| Place::Roaming { seat: pinned + n });
    in_groups.chain(roaming).collect()
}

impl Load {
    /// Begins.
    #[must_use]
    pub fn start(shared: &Arc<Shared>, mix: &Mix, seed: u64, premises: &Premises) -> Self {
        let families = mix.groups().into_iter().enumerate();
        let groups = families.map(|(number, family)| Group {
            family,
            generator: Mutex::new(generator(family, number, seed, mix, premises)),
        });
        let groups: Arc<[Group]> = groups.collect();
        let stop = CancellationToken::new();
        let mut workers = JoinSet::new();
        for (number, place) in places(mix).into_iter().enumerate() {
            let worker = Worker::new(Arc::clone(shared), Arc::clone(&groups), number, place, seed);
            workers.spawn(worker.work(stop.clone()));
        }
        let pace = Arc::clone(&shared.pace);
        let governed = stop.clone();
        workers.spawn(async move {
            pace.govern(governed).await;
            Ok(())
        });
        Self { workers, stop, groups }
    }

    /// How many groups there are.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Waits until a worker has failed; as long as none has, for ever.
    ///
    /// # Errors
    /// Always, in the end.
    pub async fn failed(&mut self) -> Result<std::convert::Infallible> {
        while let Some(ended) = self.workers.join_next().await {
            ended.context("a worker has panicked")??;
        }
        std::future::pending().await
    }

    /// Lets every open operation end, and stops.
    ///
    /// # Errors
    /// What a worker has failed with.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.workers.join_next().await {
            ended.context("a worker has panicked")??;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::random::Random;

    #[test]
    fn no_secret_has_more_than_five_workers_and_all_nodes_are_used() {
        for seed in 0..20 {
            let mix = Mix::draw(&mut Random::new(seed));
            let places = places(&mix);
            assert_eq!(places.len(), workers_of(&mix));
            let mut seats: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            let mut nodes = BTreeMap::new();
            for place in &places {
                match *place {
                    Place::Pinned { group, seat, nth } => {
                        seats.entry(group).or_default().push(seat);
                        *nodes.entry(nth % 5).or_insert(0) += 1;
                    }
                    Place::Roaming { seat } => {
                        (0..mix.groups().len())
                            .for_each(|group| seats.entry(group).or_default().push(seat));
                    }
                }
            }
            for seats in seats.values_mut() {
                seats.sort_unstable();
                assert_eq!(*seats, (0..seats.len()).collect::<Vec<_>>());
                assert!((2..=SEATS_MAX).contains(&seats.len()));
            }
            assert_eq!(nodes.len(), 5);
        }
    }
}

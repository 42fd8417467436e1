//! A cluster that bears witness, in memory, by the rules of the replicated state
//! (`raft/src/domain/kms_witness.rs`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lockbox_core::{Clock, LogTime};
use lockbox_kms_sim::engine::Engine;
use lockbox_kms_sim::keys::apply::Tombstone;
use lockbox_kms_sim::metrics::KmsMetrics;
use lockbox_kms_sim::root_key::RootKey;
use lockbox_kms_sim::store::identity::Stamp;
use lockbox_kms_sim::witness::{
    Attestation, Keeper, Seen, SettleError, Witness, WitnessError, settle,
};
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::system::SystemRandom;

use crate::support::{ROOT, Running, TestClock};

#[derive(Default)]
struct State {
    seen: Option<Seen>,
    tombstones: BTreeMap<(String, String), Tombstone>,
    /// Nobody answers.
    is_down: bool,
    /// What is told is noted, and the answer is lost, so many times.
    answers_lost: u32,
}

/// The cluster.
#[derive(Default)]
pub(crate) struct Memory(Mutex<State>);

impl Memory {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.0.lock().unwrap().is_down = is_down;
    }

    pub(crate) fn lose_answers(&self, count: u32) {
        self.0.lock().unwrap().answers_lost = count;
    }

    pub(crate) fn seen(&self) -> Seen {
        self.0.lock().unwrap().seen.unwrap()
    }

    pub(crate) fn told(&self) -> Vec<Tombstone> {
        self.0.lock().unwrap().tombstones.values().cloned().collect()
    }

    /// The cluster is set back to one that knows nothing.
    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap() = State::default();
    }
}

fn after(known: Option<Seen>, said: &Attestation) -> Option<Seen> {
    let identity = said.identity;
    let (store_id, incarnation): (Stamp, Stamp) = (identity.store_id, identity.incarnation);
    let Some(known) = known else {
        return Some(Seen {
            store_id,
            incarnation,
            epoch: identity.epoch,
            reserved: said.head + said.ahead,
            floor: said.head,
            head: said.head,
            time: said.time,
            tombstones: 0,
        });
    };
    let (head, time) = (known.head.max(said.head), known.time.max(said.time));
    if known.store_id != store_id {
        return None;
    }
    if known.incarnation == incarnation {
        let reserved = known.reserved.max(said.head + said.ahead);
        return Some(Seen { reserved, head, time, ..known });
    }
    let floor = known.reserved.max(said.head);
    (identity.epoch > known.epoch).then_some(Seen {
        incarnation,
        epoch: identity.epoch,
        reserved: floor + said.ahead,
        floor,
        head,
        time,
        ..known
    })
}

#[async_trait]
impl Witness for Memory {
    async fn recall(&self) -> Result<Option<Seen>, WitnessError> {
        let state = self.0.lock().unwrap();
        if state.is_down { Err(WitnessError::Unreachable) } else { Ok(state.seen) }
    }

    async fn attest(&self, said: &Attestation) -> Result<Option<Seen>, WitnessError> {
        let mut state = self.0.lock().unwrap();
        if state.is_down {
            return Err(WitnessError::Unreachable);
        }
        if let Some(mut seen) = after(state.seen, said) {
            for tombstone in &said.tombstones {
                let version = tombstone.version_id.as_ref().map(ToString::to_string);
                let id = (tombstone.key_id.to_string(), version.unwrap_or_default());
                state.tombstones.entry(id).or_insert_with(|| tombstone.clone());
            }
            seen.tombstones = state.tombstones.len() as u64;
            state.seen = Some(seen);
        }
        if state.answers_lost > 0 {
            state.answers_lost -= 1;
            return Err(WitnessError::Unreachable);
        }
        Ok(state.seen)
    }

    async fn tombstones(
        &self,
        after: Option<&Tombstone>,
    ) -> Result<(Vec<Tombstone>, bool), WitnessError> {
        let state = self.0.lock().unwrap();
        if state.is_down {
            return Err(WitnessError::Unreachable);
        }
        // One at a time: that pages are followed is a part of every test.
        let is_later = |tombstone: &&Tombstone| after.is_none_or(|last| *tombstone > last);
        let mut later: Vec<Tombstone> =
            state.tombstones.values().filter(is_later).cloned().collect();
        later.sort();
        let more = later.len() > 1;
        later.truncate(1);
        Ok((later, more))
    }
}

/// Who speaks for a running engine.
pub(crate) fn keeper(kms: &Running, memory: &Arc<Memory>) -> Arc<Keeper> {
    let engine: Arc<Engine> = Arc::clone(&kms.engine);
    let metrics = KmsMetrics::register(&Metrics::new(Prefix::Kms).unwrap()).unwrap();
    let (fatal, stop) = (kms.tasks.fatal().clone(), kms.tasks.token());
    Arc::new(Keeper::new(engine, Arc::<Memory>::clone(memory), metrics.witness, fatal, stop))
}

/// Lets a store that was restored catch up.
pub(crate) async fn caught_up(
    data: &Path,
    memory: &Memory,
    clock: &TestClock,
) -> Result<(), SettleError> {
    let wall = LogTime::from_ms(clock.wall_ms());
    settle(data, &RootKey::from_bytes(&ROOT), Some(memory), &SystemRandom, wall).await
}

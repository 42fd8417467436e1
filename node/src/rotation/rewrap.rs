//! Going through all payloads, and putting data keys under the newest keyring key.
//!
//! One page at a time, each proposed before the next is looked at. What `apply` finds changed stays
//! as it is. So a pass is complete when its last page is: a data key that came under an old key
//! behind it is found by the next one, and once a key is closed none comes.

use std::collections::BTreeMap;
use std::time::Duration;

use lockbox_core::Randomness;
use lockbox_raft::domain::command::Command;
use lockbox_raft::domain::keyring::{DataKeyRewrap, KeyPurpose, KeyStage, KeyringKeyRecord};
use lockbox_raft::domain::version::WrappedDataKey;
use lockbox_raft::error::StorageError;
use lockbox_raft::state::tables::{self, WrappedPage, WrappedPayload};
use tokio::time::Instant;

use super::next::Finished;
use super::{StepError, propose};
use crate::app::App;
use crate::keyring::KeyRing;
use crate::seal::{self, OpenError, SealPlace};
use crate::sealer::keyring_name;

/// Payloads of one look, and data keys of one entry of the log.
const PAGE: usize = 32;
/// Payloads that nothing is done with cost so many times less than those that are rewrapped.
const LOOKS_PER_REWRAP: u32 = 20;
/// Before the payloads are gone through again after a pass that found what it could not open.
const REST: Duration = Duration::from_secs(60);

/// The passes of a leader: the one under way, and what the last ones have found.
#[derive(Default)]
pub(super) struct Passes {
    under_way: Option<Pass>,
    finished: BTreeMap<u32, Finished>,
    rests_until: Option<Instant>,
}

/// One pass through the payloads.
struct Pass {
    /// The keys that data keys are to leave, at their stages when it began.
    old: BTreeMap<u32, KeyStage>,
    /// How many they still had wrapped.
    found: BTreeMap<u32, u64>,
    /// Where the next page begins; absent at the beginning.
    from: Option<Vec<u8>>,
    unreadable: u64,
}

impl Passes {
    /// What the last passes have found, by key.
    pub(super) const fn finished(&self) -> &BTreeMap<u32, Finished> {
        &self.finished
    }

    /// Whether the last pass has found what it could not open, a short time ago.
    pub(super) fn are_resting(&self) -> bool {
        self.rests_until.is_some_and(|until| Instant::now() < until)
    }

    /// Another node leads: what is known here is out of date.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Does one page, of the pass under way or of a new one; whether there may be more to do.
    pub(super) async fn go_on(
        &mut self,
        app: &App,
        keys: &[KeyringKeyRecord],
    ) -> Result<bool, StepError> {
        if self.are_resting() {
            return Ok(false);
        }
        let mut pass = match self.under_way.take() {
            Some(pass) => pass,
            None => Pass::begin(app, keys)?,
        };
        let last = match pass.page(app).await {
            Ok(last) => last,
            // The same page again with the next turn.
            Err(error) => {
                self.under_way = Some(pass);
                return Err(error);
            }
        };
        if !last {
            self.under_way = Some(pass);
            return Ok(true);
        }
        self.rests_until = (pass.unreadable > 0).then(|| Instant::now() + REST);
        for (id, stage) in &pass.old {
            let found = pass.found.get(id).copied().unwrap_or_default();
            self.finished.insert(*id, Finished { stage: *stage, found });
        }
        Ok(true)
    }
}

impl Pass {
    fn begin(app: &App, keys: &[KeyringKeyRecord]) -> Result<Self, StepError> {
        let versions = app.replica.read_stale(|view, _| tables::live_versions(view))?.value?;
        app.rotation.begin_pass(versions);
        let leaves =
            |key: &&KeyringKeyRecord| matches!(key.stage, KeyStage::Superseded | KeyStage::Closed);
        let old = keys.iter().filter(leaves).map(|key| (key.id, key.stage)).collect();
        Ok(Self { old, found: BTreeMap::new(), from: None, unreadable: 0 })
    }

    /// Looks at one page and puts what it finds under the active key; whether it was the last.
    async fn page(&mut self, app: &App) -> Result<bool, StepError> {
        let from = self.from.as_deref();
        let page = app.replica.read_stale(|view, _| tables::wrapped_page(view, from, PAGE))?;
        let page: Result<WrappedPage, StorageError> = page.value;
        let page = page?;
        let random = app.random.as_ref();
        let ring = app.keyring.ring()?;
        let (mut rewraps, mut unreadable) = (Vec::new(), 0);
        let mut found: BTreeMap<u32, u64> = BTreeMap::new();
        for payload in page.payloads.iter().filter(|p| self.old.contains_key(&p.keyring_key_id)) {
            *found.entry(payload.keyring_key_id).or_default() += 1;
            match rewrapped(&ring, payload, random)? {
                Ok(rewrap) => rewraps.push(rewrap),
                Err(OpenError) => {
                    unreadable += 1;
                    let (secret, version) = (&payload.secret_id, &payload.version_id);
                    let key_id = payload.keyring_key_id;
                    tracing::error!(%secret, %version, key_id, "a data key does not open");
                }
            }
        }
        drop(ring);
        let count = u32::try_from(rewraps.len()).unwrap_or(u32::MAX);
        if count > 0 {
            propose(app, Command::RewrapDataKeys(rewraps)).await?;
        }
        // Counted once they are decided: a page whose proposal failed is looked at again.
        for (id, more) in found {
            *self.found.entry(id).or_default() += more;
        }
        self.unreadable += unreadable;
        let examined = u32::try_from(page.examined).unwrap_or(u32::MAX);
        app.rotation.count(u64::from(examined), u64::from(count), unreadable);
        let last = page.next.is_none();
        self.from = page.next;
        let rate = app.config.keyring.rewraps_per_second;
        tokio::time::sleep(pause(examined, count, rate)).await;
        Ok(last)
    }
}

/// How long so much work is to take, at this rate of data keys in a second.
fn pause(examined: u32, rewrapped: u32, per_second: u32) -> Duration {
    let looks = Duration::from_secs(1) * examined / per_second.max(1) / LOOKS_PER_REWRAP;
    let rewraps = Duration::from_secs(1) * rewrapped / per_second.max(1);
    looks.max(rewraps)
}

/// The data key of a payload, under the ring's active key.
fn rewrapped(
    ring: &KeyRing,
    payload: &WrappedPayload,
    random: &dyn Randomness,
) -> Result<Result<DataKeyRewrap, OpenError>, StepError> {
    let purpose = KeyPurpose::WrapDataKeys;
    let (active_id, active) = ring.active(purpose).ok_or(StepError::NoActiveKey)?;
    let Some(old) = ring.get(payload.keyring_key_id, purpose) else {
        return Err(StepError::NoActiveKey);
    };
    let place = SealPlace {
        cloud: &payload.cloud_id,
        folder: &payload.folder_id,
        secret: &payload.secret_id,
        version: &payload.version_id,
    };
    let seen = place.wrap_data(&keyring_name(payload.keyring_key_id));
    let data_key = match seal::unwrap(old, &payload.salt, &payload.ciphertext, &seen) {
        Ok(data_key) => data_key,
        Err(error) => return Ok(Err(error)),
    };
    let data = place.wrap_data(&keyring_name(active_id));
    let (salt, ciphertext) = seal::wrap(active, &data_key, &data, random);
    Ok(Ok(DataKeyRewrap {
        secret_id: payload.secret_id.clone(),
        version_id: payload.version_id.clone(),
        old_key_id: payload.keyring_key_id,
        old_salt: payload.salt,
        new: WrappedDataKey::Keyring { keyring_key_id: active_id, salt, ciphertext },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_as_long_as_its_rate_says() {
        assert_eq!(pause(32, 32, 64), Duration::from_millis(500));
        assert_eq!(pause(32, 0, 64), Duration::from_millis(25));
        assert_eq!(pause(0, 0, 64), Duration::ZERO);
        assert_eq!(pause(20, 1, 1), Duration::from_secs(1));
    }
}

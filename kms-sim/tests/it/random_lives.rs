//! Random lives of keys, with a clock that jumps and restarts in between: whatever is asked for in
//! whatever order, rows fit together, and nothing is destroyed before the time that was promised.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{Clock, KmsKeyId, KmsKeyVersionId, LogTime};
use lockbox_kms_sim::algorithm::Algorithm;
use lockbox_kms_sim::caller::Caller;
use lockbox_kms_sim::error::KmsError;
use lockbox_kms_sim::keys::apply::{read_keys, read_versions};
use lockbox_kms_sim::keys::command::{UpdateKey, VersionOf};
use lockbox_kms_sim::keys::{Done, service, versions};
use lockbox_kms_sim::schedule::Scheduler;
use lockbox_kms_sim::store::records::{KeyStatus, VersionStatus};
use proptest::prelude::*;

use crate::consistency::assert_consistent;
use crate::support::{Running, TestClock, admin, no_update, open_at, pass};

const RETENTION: Duration = Duration::from_hours(72);

/// What is done next; numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    Create,
    Rotate(usize),
    Schedule(usize, usize, u64),
    Cancel(usize, usize),
    SetPrimary(usize, usize),
    Delete(usize),
    Undelete(usize),
    Status(usize, bool),
    Period(usize, Option<u64>),
    /// Hours pass, and what is due is done.
    Wait(u64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let n = || 0_usize..8;
    let hours = || 1_u64..200;
    let step = prop_oneof![
        2 => Just(Step::Create),
        3 => n().prop_map(Step::Rotate),
        5 => (n(), n(), hours()).prop_map(|(key, version, h)| Step::Schedule(key, version, h)),
        3 => (n(), n()).prop_map(|(key, version)| Step::Cancel(key, version)),
        3 => (n(), n()).prop_map(|(key, version)| Step::SetPrimary(key, version)),
        2 => n().prop_map(Step::Delete),
        2 => n().prop_map(Step::Undelete),
        2 => (n(), any::<bool>()).prop_map(|(key, on)| Step::Status(key, on)),
        2 => (n(), proptest::option::of(hours())).prop_map(|(key, h)| Step::Period(key, h)),
        5 => (1_u64..60).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What was promised: the earliest time at which a version may be destroyed.
type Promises = BTreeMap<KmsKeyVersionId, LogTime>;

struct Life<'a> {
    directory: &'a Path,
    clock: Arc<TestClock>,
    kms: Running,
    scheduler: Scheduler,
    keys: Vec<KmsKeyId>,
}

impl Life<'_> {
    fn key(&self, n: usize) -> Option<&KmsKeyId> {
        if self.keys.is_empty() { None } else { Some(&self.keys[n % self.keys.len()]) }
    }

    fn version(&self, key: usize, n: usize) -> Option<VersionOf> {
        let key_id = self.key(key)?.clone();
        let view = self.kms.engine.view();
        let key = read_keys(&view).unwrap().into_iter().find(|key| key.id == key_id)?;
        let mut all = read_versions(&view, &key).unwrap();
        let version_id = all.swap_remove(n % all.len()).id;
        Some(VersionOf { key_id, version_id })
    }

    /// Does a step; what the service refuses is refused.
    async fn take(mut self, step: &Step) -> Self {
        let engine = &self.kms.engine;
        let (admin, none) = (admin(), &mut None);
        let hours = |hours: u64| Duration::from_hours(hours);
        let done: Option<Result<Done, KmsError>> = match *step {
            Step::Create => {
                let made = self.kms.create(&admin, Algorithm::Aes256).await;
                self.keys.push(made);
                None
            }
            Step::Rotate(key) => match self.key(key) {
                Some(key) => Some(service::rotate(engine, &admin, key, None, none).await),
                None => None,
            },
            Step::Schedule(key, version, h) => match self.version(key, version) {
                Some(of) => {
                    let schedule = versions::schedule_destruction;
                    Some(schedule(engine, &admin, &of, hours(h), None, none).await)
                }
                None => None,
            },
            Step::Cancel(key, version) => match self.version(key, version) {
                Some(of) => {
                    Some(versions::cancel_destruction(engine, &admin, &of, None, none).await)
                }
                None => None,
            },
            Step::SetPrimary(key, version) => match self.version(key, version) {
                Some(of) => Some(versions::set_primary(engine, &admin, &of, None, none).await),
                None => None,
            },
            Step::Delete(key) => match self.key(key) {
                Some(key) => {
                    Some(service::delete(engine, &admin, key, RETENTION, None, none).await)
                }
                None => None,
            },
            Step::Undelete(key) => match self.key(key) {
                Some(key) => {
                    Some(service::undelete(engine, &Caller::operator("operator"), key).await)
                }
                None => None,
            },
            Step::Status(key, on) => {
                self.update(key, |update| {
                    let status = if on { KeyStatus::Active } else { KeyStatus::Inactive };
                    update.status = Some(status);
                })
                .await
            }
            Step::Period(key, h) => {
                self.update(key, |update| {
                    update.rotation_period_ms = Some(h.map(|h| hours(h).as_millis() as u64));
                })
                .await
            }
            Step::Wait(h) => {
                self.clock.advance(hours(h));
                pass(&self.kms, &mut self.scheduler).await;
                None
            }
            Step::Restart => {
                self.kms.stop().await;
                self.kms = open_at(self.directory, Arc::clone(&self.clock)).await;
                self.scheduler = Scheduler::default();
                None
            }
        };
        if let Some(Err(error)) = done {
            assert!(error.rejection().is_some(), "{error}");
        }
        self
    }

    async fn update(
        &self,
        key: usize,
        change: impl FnOnce(&mut UpdateKey),
    ) -> Option<Result<Done, KmsError>> {
        let mut update = no_update(self.key(key)?);
        change(&mut update);
        Some(service::update(&self.kms.engine, &admin(), update, None, &mut None).await)
    }

    /// Compares what there is with what was promised, and notes what is promised now.
    fn check(&self, promises: &mut Promises) {
        let view = self.kms.engine.view();
        assert_consistent(&view);
        let now = LogTime::from_ms(self.clock.wall_ms());
        for key in read_keys(&view).unwrap() {
            let of_key = key.deletion.as_ref().map(|deletion| deletion.destroy_at);
            for version in read_versions(&view, &key).unwrap() {
                if version.status == VersionStatus::Destroyed {
                    let promised = promises.get(&version.id);
                    assert!(promised.is_some_and(|at| *at <= now), "{} is early", version.id);
                    continue;
                }
                let soonest = [version.destroy_at, of_key].into_iter().flatten().min();
                match soonest {
                    Some(at) => promises.insert(version.id, at),
                    None => promises.remove(&version.id),
                };
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_life_keeps_its_promises(steps in steps()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let clock = TestClock::new();
            let kms = open_at(directory.path(), Arc::clone(&clock)).await;
            let scheduler = Scheduler::default();
            let mut life =
                Life { directory: directory.path(), clock, kms, scheduler, keys: Vec::new() };
            let mut promises = Promises::new();
            for step in &steps {
                life = life.take(step).await;
                life.check(&mut promises);
            }
            life.kms.stop().await;
        });
    }
}

//! The faults of a plan, as a run wants them.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;

use super::recorded_faults::RecordedFaults;
use super::trouble::Trouble;
use crate::cluster::Cluster;
use crate::history::recorder::Recorder;
use crate::moment::now;
use crate::nemesis::event::FaultLog;
use crate::nemesis::scene::{Ending, Scene};
use crate::nemesis::schedule;
use crate::plan::Plan;

/// Between two looks whether the run is to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// See the file.
pub struct PlannedTrouble {
    cluster: Arc<Cluster>,
    plan: Plan,
    log: Arc<RecordedFaults>,
}

impl PlannedTrouble {
    /// What this plan does to this cluster.
    #[must_use]
    pub const fn new(cluster: Arc<Cluster>, plan: Plan, log: Arc<RecordedFaults>) -> Self {
        Self { cluster, plan, log }
    }
}

impl Trouble for PlannedTrouble {
    fn rage(self: Box<Self>, _: &Arc<Recorder>, stop: &CancellationToken) -> Result<()> {
        let Self { cluster, plan, log } = *self;
        let ending = Arc::new(Ending::default());
        let listening = Arc::clone(&log) as Arc<dyn FaultLog>;
        let scene = Scene::new(cluster, listening, Arc::clone(&ending));
        // The plan counts from the beginning of the load, and its quiet time is over.
        let quiet = Duration::from_millis(plan.phases.quiet_ms);
        let began = now().checked_sub(quiet).context("the machine has only just been started")?;
        let recovery = Duration::from_millis(plan.phases.recovery_ms);
        let over = CancellationToken::new();
        let ran = thread::scope(|scope| {
            scope.spawn(|| {
                while !over.is_cancelled() {
                    if stop.is_cancelled() {
                        ending.tell(
                            "the run was ended, or its time over, before its plan".to_owned(),
                        );
                        return;
                    }
                    thread::sleep(LOOK_EVERY);
                }
            });
            let ran = schedule::run(&scene, &plan.faults, began, recovery);
            over.cancel();
            ran
        });
        ran.and(log.recorded().map_err(Into::into))
    }
}

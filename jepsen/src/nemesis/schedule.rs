//! Executes the faults of a plan on a cluster: each class in its own thread, one fault after the
//! other, and heals everything at the end.
//!
//! Promises: every fault that was begun is healed, also when the run is told to end or another
//! fault fails; after it, nothing that this harness did to the cluster is in force.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::event::{FaultEvent, Outcome};
use super::scene::Scene;
use super::watch::watch;
use super::{Begun, fault};
use crate::cluster::part::Part;
use crate::cluster::preload::SyncFailures;
use crate::cluster::server::Life;
use crate::moment::now;
use crate::plan::PlannedFault;
use crate::random::Random;

/// Runs the faults of a plan that began at `began`, beside a watch over the cluster, and heals.
/// The cluster is ready when this returns without a failure.
///
/// # Errors
/// A failure of the harness, the end of a server that no fault may end, or a cluster that is not
/// ready within `recovery` after everything was healed: with any of these a run is not
/// acceptable. Being told to end by the operator is one too.
pub fn run(
    scene: &Scene,
    faults: &[PlannedFault],
    began: Instant,
    recovery: Duration,
) -> Result<()> {
    let mut by_class: BTreeMap<_, Vec<&PlannedFault>> = BTreeMap::new();
    for planned in faults {
        by_class.entry(planned.action.class()).or_default().push(planned);
    }
    let over = AtomicBool::new(false);
    let healed = std::thread::scope(|scope| {
        let watching = scope.spawn(|| tell(scene, watch(scene, || over.load(Ordering::Relaxed))));
        let classes = by_class
            .into_values()
            .map(|faults| scope.spawn(move || tell(scene, faults_in_turn(scene, &faults, began))));
        let classes: Vec<_> = classes.collect();
        for class in classes {
            if class.join().is_err() {
                scene.ending().tell("a fault panicked".to_owned());
            }
        }
        let healed = heal_all(scene, recovery);
        over.store(true, Ordering::Relaxed);
        if watching.join().is_err() {
            scene.ending().tell("the watch panicked".to_owned());
        }
        healed
    });
    if let Some(reason) = scene.ending().reason() {
        // Why it ended comes first: that it is not healed may be of the same cause.
        healed.with_context(|| reason.clone())?;
        anyhow::bail!(reason);
    }
    healed
}

/// A failure ends the run.
fn tell(scene: &Scene, result: Result<()>) {
    if let Err(error) = result {
        scene.ending().tell(format!("the harness failed: {error:#}"));
    }
}

fn faults_in_turn(scene: &Scene, faults: &[&PlannedFault], began: Instant) -> Result<()> {
    for planned in faults {
        let begin = began + Duration::from_millis(planned.begin_ms);
        if !scene.ending().wait_until(begin) {
            return Ok(());
        }
        one_fault(scene, planned)?;
    }
    Ok(())
}

/// One fault from beginning to end, and what is told of it.
fn one_fault(scene: &Scene, planned: &PlannedFault) -> Result<()> {
    let class = planned.action.class();
    let mut fault = fault(planned.action, Random::new(planned.lot));
    let leader = scene.cluster.leader();
    let begin = now();
    let injected = fault.inject(scene);
    let mut event = FaultEvent {
        number: planned.number,
        class,
        target: String::new(),
        begin,
        end: None,
        outcome: Outcome::Indeterminate("it was not looked at yet".to_owned()),
        leader,
        majority_reachable: scene.majority_reachable(),
    };
    let looked = match injected {
        Ok(Begun::Skipped { reason }) => Ok(Outcome::Skipped(reason)),
        Ok(Begun::Began { target }) => {
            event.target = target;
            scene.log.began(&event);
            let until = now() + Duration::from_millis(planned.length_ms);
            fault.during(scene, until).and_then(|()| fault.verify(scene))
        }
        Err(error) => Err(error),
    };
    let healed = fault.heal(scene);
    event.end = Some(now());
    let failed = |error: &anyhow::Error| Outcome::Indeterminate(format!("{error:#}"));
    event.outcome = match (&looked, &healed) {
        (Err(error), _) | (Ok(_), Err(error)) => failed(error),
        (Ok(outcome), Ok(())) => outcome.clone(),
    };
    scene.log.ended(&event);
    looked.with_context(|| format!("fault {} ({class})", planned.number))?;
    healed.with_context(|| format!("healing fault {} ({class})", planned.number))
}

/// Takes back whatever is left of faults, and waits until every member and the KMS are ready.
fn heal_all(scene: &Scene, recovery: Duration) -> Result<()> {
    let cluster = &scene.cluster;
    scene.mend_all()?;
    let members = cluster.members().into_iter().map(Part::Node);
    let parts: Vec<_> = [Part::Kms].into_iter().chain(members).collect();
    for part in &parts {
        if let Ok(disk) = cluster.disk(*part) {
            disk.free()?;
        }
        cluster.steering(*part).set_clock(0)?;
        cluster.steering(*part).set_sync(0, SyncFailures::None)?;
        let server = cluster.server(*part)?;
        server.resume()?;
        if server.life()? == Life::Down {
            cluster.launch(*part)?;
        }
    }
    let deadline = now() + recovery;
    for part in parts {
        let left = deadline.saturating_duration_since(now());
        cluster.wait_ready(part, left).context("the cluster has not recovered")?;
    }
    Ok(())
}

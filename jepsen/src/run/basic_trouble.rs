//! The faults that need neither root nor a network of the run's own: processes that are killed,
//! stopped and restarted, and leadership that is handed over.
//!
//! One fault after the other, in the order of the plan; one that is late begins at once.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use super::loopback::Loopback;
use super::recorded_faults::RecordedFaults;
use super::trouble::Trouble;
use crate::cluster::part::Part;
use crate::cluster::server::Life;
use crate::history::recorder::Recorder;
use crate::moment::now;
use crate::nemesis::action::{Action, KmsTrouble, Victims};
use crate::nemesis::event::{FaultEvent, FaultLog, Outcome};
use crate::plan::{Plan, PlannedFault};
use crate::random::Random;

/// Between two looks whether the run is to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a restarted node may take until it answers.
const RESTART: Duration = Duration::from_secs(20);
/// Faults are left out when they would begin so late that they hardly last.
const LAST_BEGIN: Duration = Duration::from_secs(3);

/// See the file.
pub struct BasicTrouble {
    cluster: Arc<Loopback>,
    plan: Plan,
    log: Arc<RecordedFaults>,
}

/// What a fault has done to whom.
struct Done {
    killed: Vec<Part>,
    paused: Vec<Part>,
    outcome: Outcome,
}

impl Done {
    const fn nothing(outcome: Outcome) -> Self {
        Self { killed: Vec::new(), paused: Vec::new(), outcome }
    }

    fn skipped(why: &str) -> Self {
        Self::nothing(Outcome::Skipped(why.to_owned()))
    }
}

impl BasicTrouble {
    /// What this plan does to this cluster.
    #[must_use]
    pub const fn new(cluster: Arc<Loopback>, plan: Plan, log: Arc<RecordedFaults>) -> Self {
        Self { cluster, plan, log }
    }

    fn one(&self, planned: &PlannedFault, end: Instant, stop: &CancellationToken) -> Result<()> {
        let begin = now();
        let leader = self.cluster.leader();
        let lasts = Duration::from_millis(planned.length_ms).min(end - begin);
        let mut random = Random::new(planned.lot);
        let mut done = self.begin(planned.action, leader, &mut random)?;
        let hit: Vec<String> =
            done.killed.iter().chain(&done.paused).map(ToString::to_string).collect();
        let mut event = FaultEvent {
            number: planned.number,
            class: planned.action.class(),
            target: hit.join(" "),
            begin,
            end: None,
            outcome: Outcome::Indeterminate("it was not looked at yet".to_owned()),
            leader,
            majority_reachable: self.tell_majority()?,
        };
        if !matches!(done.outcome, Outcome::Skipped(_)) {
            self.log.began(&event);
            match planned.action {
                Action::RollingRestart => done.outcome = self.restart_all(stop)?,
                Action::TransferStorm { every_ms } => {
                    let every = Duration::from_millis(every_ms);
                    done.outcome = self.transfer(every, begin + lasts, &mut random, stop);
                }
                _ => {
                    wait(begin + lasts, stop);
                    done.outcome = self.verify(&done)?;
                }
            }
        }
        self.mend(&done)?;
        self.tell_majority()?;
        event.end = Some(now());
        event.outcome = done.outcome;
        self.log.ended(&event);
        Ok(())
    }

    fn begin(&self, action: Action, leader: Option<u16>, random: &mut Random) -> Result<Done> {
        let unseen = || Outcome::Indeterminate("it was not looked at yet".to_owned());
        let mut done = Done::nothing(unseen());
        match action {
            Action::Kill { who } => {
                for part in self.victims(who, leader, random) {
                    if self.cluster.server(part)?.kill()? {
                        done.killed.push(part);
                    }
                }
            }
            Action::Pause { who } => {
                for part in self.victims(who, leader, random) {
                    if self.cluster.server(part)?.pause()? {
                        done.paused.push(part);
                    }
                }
            }
            Action::Kms { trouble } => {
                let server = self.cluster.server(Part::Kms)?;
                match trouble {
                    KmsTrouble::Kill if server.kill()? => done.killed.push(Part::Kms),
                    KmsTrouble::Stop if server.stop()? => done.killed.push(Part::Kms),
                    KmsTrouble::Pause if server.pause()? => done.paused.push(Part::Kms),
                    KmsTrouble::Kill
                    | KmsTrouble::Stop
                    | KmsTrouble::Pause
                    | KmsTrouble::Slow(_)
                    | KmsTrouble::Lossy(_)
                    | KmsTrouble::CutOff
                    | KmsTrouble::KillBeforeAnswer => {
                        return Ok(Done::skipped("needs a network of the run's own"));
                    }
                }
            }
            Action::RollingRestart | Action::TransferStorm { .. } => return Ok(done),
            Action::Partition { .. }
            | Action::ClientCut { .. }
            | Action::SlowLink { .. }
            | Action::ClockStep { .. }
            | Action::DiskFull { .. }
            | Action::SyncFault { .. }
            | Action::PowerLoss { .. }
            | Action::BitFlip { .. }
            | Action::Membership { .. }
            | Action::SnapshotStorm { .. } => {
                return Ok(Done::skipped("needs root and namespaces of the run's own"));
            }
        }
        if done.killed.is_empty() && done.paused.is_empty() {
            return Ok(Done::skipped("none of them ran"));
        }
        Ok(done)
    }

    fn victims(&self, who: Victims, leader: Option<u16>, random: &mut Random) -> Vec<Part> {
        let mut nodes = self.cluster.nodes();
        random.shuffle(&mut nodes);
        let minority = (nodes.len() - 1) / 2;
        let count = match who {
            Victims::One | Victims::Leader | Victims::Follower => 1,
            Victims::Minority => minority.max(1),
            Victims::Majority => minority + 1,
            Victims::All => nodes.len(),
        };
        match who {
            // Without a leader it is one that may have been.
            Victims::Leader => nodes.sort_by_key(|node| Some(*node) != leader),
            Victims::Follower => nodes.retain(|node| Some(*node) != leader),
            Victims::One | Victims::Minority | Victims::Majority | Victims::All => {}
        }
        nodes.into_iter().take(count).map(Part::Node).collect()
    }

    fn verify(&self, done: &Done) -> Result<Outcome> {
        for (parts, expected) in [(&done.killed, Life::Down), (&done.paused, Life::Paused)] {
            for part in parts {
                if self.cluster.server(*part)?.life()? != expected {
                    return Ok(Outcome::Indeterminate(format!("{part} did not stay that way")));
                }
            }
        }
        Ok(Outcome::Installed)
    }

    fn mend(&self, done: &Done) -> Result<()> {
        for part in &done.paused {
            self.cluster.server(*part)?.resume()?;
        }
        for part in &done.killed {
            if self.cluster.server(*part)?.life()? == Life::Down {
                self.cluster.launch(*part)?;
            }
        }
        Ok(())
    }

    fn restart_all(&self, stop: &CancellationToken) -> Result<Outcome> {
        for node in self.cluster.nodes() {
            let part = Part::Node(node);
            let server = self.cluster.server(part)?;
            if !server.stop()? {
                return Ok(Outcome::Indeterminate(format!("{part} had to be killed")));
            }
            self.cluster.launch(part)?;
            let deadline = now() + RESTART;
            let answers = || self.cluster.operate(node, &["status"]).is_ok();
            while !answers() && now() < deadline && !stop.is_cancelled() {
                thread::sleep(LOOK_EVERY);
            }
        }
        Ok(Outcome::Installed)
    }

    fn transfer(
        &self,
        every: Duration,
        until: Instant,
        random: &mut Random,
        stop: &CancellationToken,
    ) -> Outcome {
        let (mut changes, mut complaint) = (0_u32, "there was no leader".to_owned());
        while now() < until && !stop.is_cancelled() {
            if let Some(leader) = self.cluster.leader() {
                let mut others = self.cluster.nodes();
                others.retain(|node| *node != leader);
                let next = random.pick(&others).map_or_else(String::new, ToString::to_string);
                match self.cluster.operate(leader, &["transfer-leader", &next]) {
                    Ok(_) => changes += u32::from(self.cluster.leader() != Some(leader)),
                    Err(error) => complaint = format!("{error:#}"),
                }
            }
            wait((now() + every).min(until), stop);
        }
        if changes > 0 { Outcome::Installed } else { Outcome::Indeterminate(complaint) }
    }

    fn tell_majority(&self) -> Result<bool> {
        let nodes = self.cluster.nodes();
        let mut up = 0;
        for node in &nodes {
            let life = self.cluster.server(Part::Node(*node))?.life()?;
            up += usize::from(life == Life::Runs);
        }
        let reachable = up > nodes.len() / 2;
        self.log.majority(now(), reachable);
        Ok(reachable)
    }

    fn mend_all(&self) -> Result<()> {
        for part in self.cluster.parts() {
            let server = self.cluster.server(part)?;
            server.resume()?;
            if server.life()? == Life::Down {
                self.cluster.launch(part)?;
            }
        }
        Ok(())
    }
}

impl Trouble for BasicTrouble {
    fn rage(self: Box<Self>, _: &Arc<Recorder>, stop: &CancellationToken) -> Result<()> {
        let begin = now();
        let end = begin + Duration::from_millis(self.plan.phases.faults_ms);
        let mut raged = Ok(());
        for planned in &self.plan.faults {
            // The plan counts from the beginning of the load, and its quiet time is over.
            let after = planned.begin_ms.saturating_sub(self.plan.phases.quiet_ms);
            wait(begin + Duration::from_millis(after), stop);
            if stop.is_cancelled() || now() + LAST_BEGIN > end {
                break;
            }
            raged = self.one(planned, end, stop);
            if raged.is_err() {
                break;
            }
        }
        raged.and(self.mend_all()).and(self.log.recorded().map_err(Into::into))?;
        anyhow::ensure!(!stop.is_cancelled(), "the operator ended the run");
        Ok(())
    }
}

/// Waits until this moment, or until the run is to end.
fn wait(until: Instant, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let left = until.saturating_duration_since(now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(LOOK_EVERY));
    }
}

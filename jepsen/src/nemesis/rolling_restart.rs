//! Orderly restarts, one node at a time, each ready before the next one goes. Where two builds are
//! tried beside each other, each node comes back on the other one: a rolling upgrade, and the way
//! back.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::class::FaultClass;
use super::event::Outcome;
use super::scene::Scene;
use super::{Begun, Fault};
use crate::cluster::part::Part;
use crate::moment::now;

/// How long a restarted node may take to be ready before the next one goes anyway: other faults
/// may keep it from that.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct RollingRestart {
    restarted: usize,
    forced: usize,
    busy: usize,
    changed: usize,
}

impl RollingRestart {
    pub(super) const fn new() -> Self {
        Self { restarted: 0, forced: 0, busy: 0, changed: 0 }
    }

    fn restart(&mut self, scene: &Scene, part: Part) -> Result<()> {
        let Ok(claim) = scene.claims.take(FaultClass::RollingRestart, &[part]) else {
            self.busy += 1;
            return Ok(());
        };
        let server = scene.cluster.server(part)?;
        let before = server.pid();
        if !server.stop()? {
            self.forced += 1;
        }
        self.changed += usize::from(scene.cluster.change_build(part));
        scene.cluster.launch(part)?;
        self.restarted += usize::from(before.is_some() && server.pid() != before);
        drop(claim);
        let deadline = now() + PATIENCE;
        while scene.cluster.is_ready(part) != Some(true) && now() < deadline {
            if !scene.ending().wait(PAUSE) {
                break;
            }
        }
        Ok(())
    }
}

impl Fault for RollingRestart {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        Ok(Begun::on(match scene.cluster.spec().programs.other_lockbox {
            None => "all nodes, one after the other",
            Some(_) => "all nodes, one after the other, each on the other build",
        }))
    }

    fn during(&mut self, scene: &Scene, _until: Instant) -> Result<()> {
        for node in scene.cluster.members() {
            if scene.ending().reason().is_some() {
                break;
            }
            self.restart(scene, Part::Node(node))?;
        }
        Ok(())
    }

    fn verify(&mut self, scene: &Scene) -> Result<Outcome> {
        let Self { restarted, forced, busy, changed } = self;
        let two_builds = scene.cluster.spec().programs.other_lockbox.is_some();
        Ok(match (*restarted, *forced) {
            (1.., _) if two_builds && *changed == 0 => {
                Outcome::Indeterminate("no node has changed its build".to_owned())
            }
            (0, _) => Outcome::Indeterminate(format!("{busy} nodes had other faults")),
            (_, 0) => Outcome::Installed,
            (_, forced) => Outcome::Indeterminate(format!("{forced} nodes had to be killed")),
        })
    }

    fn heal(&mut self, _scene: &Scene) -> Result<()> {
        Ok(())
    }
}

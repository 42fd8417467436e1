//! Wall clocks that jump ahead or back, and back again at the end. Monotonic clocks stay right.

use anyhow::Result;

use super::action::Victims;
use super::event::Outcome;
use super::scene::Scene;
use super::victims::{choose, names, parts};
use super::{Begun, Fault};
use crate::cluster::part::Part;
use crate::random::Random;

pub(super) struct ClockStep {
    who: Victims,
    offset_s: i64,
    random: Random,
    /// Whose clock is wrong, and how often each had read a wrong one before.
    stepped: Vec<(Part, u64)>,
}

impl ClockStep {
    pub(super) const fn new(who: Victims, offset_s: i64, random: Random) -> Self {
        Self { who, offset_s, random, stepped: Vec::new() }
    }
}

impl Fault for ClockStep {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        if !scene.cluster.preload().has_wrong_clock() {
            return Ok(Begun::skipped("this machine has no C compiler for the wrong clock"));
        }
        let chosen = parts(&choose(self.who, scene, &mut self.random));
        for part in &chosen {
            let steering = scene.cluster.steering(*part);
            self.stepped.push((*part, steering.wrong_reads()?));
            steering.set_clock(self.offset_s)?;
        }
        Ok(Begun::on(format!("{} by {:+} s", names(&chosen), self.offset_s)))
    }

    fn verify(&mut self, scene: &Scene) -> Result<Outcome> {
        for (part, before) in &self.stepped {
            if scene.cluster.steering(*part).wrong_reads()? == *before {
                return Ok(Outcome::Indeterminate(format!("{part} did not look at its clock")));
            }
        }
        Ok(Outcome::Installed)
    }

    fn heal(&mut self, scene: &Scene) -> Result<()> {
        for (part, _) in self.stepped.drain(..) {
            scene.cluster.steering(part).set_clock(0)?;
        }
        Ok(())
    }
}

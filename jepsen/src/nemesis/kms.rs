//! A KMS that is gone, stopped, paused, slow, lossy or cut off; or killed when it has served and
//! its answers have not arrived.

use std::time::Instant;

use anyhow::Result;

use super::action::{KmsTrouble, Means};
use super::claims::Claim;
use super::class::FaultClass;
use super::event::Outcome;
use super::kill::start_again;
use super::probing::comes_to_be_seen;
use super::scene::Scene;
use super::{Begun, Fault};
use crate::cluster::addresses::{Host, Link};
use crate::cluster::part::Part;
use crate::cluster::server::Life;
use crate::cluster::switch::{Counts, LinkRule};
use crate::moment::now;

pub(super) struct Kms {
    trouble: KmsTrouble,
    owner: Option<u64>,
    links: Vec<Link>,
    before: Counts,
    claim: Option<Claim>,
}

impl Kms {
    pub(super) fn new(trouble: KmsTrouble) -> Self {
        Self { trouble, owner: None, links: Vec::new(), before: Counts::default(), claim: None }
    }

    /// Puts a rule on the links from the KMS, and to it unless answers alone are meant.
    fn rule(&mut self, scene: &Scene, rule: LinkRule, answers_only: bool) -> Result<()> {
        for node in scene.cluster.members() {
            let [answer, request] = Link::both(Host::Kms, Host::Node(node));
            self.links.push(answer);
            if !answers_only {
                self.links.push(request);
            }
        }
        self.before = scene.cluster.switch()?.counts(&self.links);
        let owner = scene.owner();
        self.owner = Some(owner);
        if rule.blocked {
            scene.cut(owner, self.links.clone(), Means::Switch)?;
        } else {
            let rules = self.links.iter().map(|link| (*link, rule)).collect();
            scene.cluster.switch()?.install(owner, rules);
        }
        Ok(())
    }
}

impl Fault for Kms {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        match scene.claims.take(FaultClass::Kms, &[Part::Kms]) {
            Ok(claim) => self.claim = Some(claim),
            Err(reason) => return Ok(Begun::skipped(reason)),
        }
        let server = scene.cluster.server(Part::Kms)?;
        let done = match self.trouble {
            KmsTrouble::Kill => server.kill()?,
            KmsTrouble::Stop => server.stop()?,
            KmsTrouble::Pause => server.pause()?,
            KmsTrouble::Slow(delay_us) => {
                let rule = LinkRule { delay_us, ..LinkRule::default() };
                self.rule(scene, rule, true)?;
                true
            }
            KmsTrouble::Lossy(drop_percent) => {
                let rule = LinkRule { drop_percent, ..LinkRule::default() };
                self.rule(scene, rule, false)?;
                true
            }
            KmsTrouble::CutOff => {
                self.rule(scene, LinkRule::BLOCKED, false)?;
                true
            }
            KmsTrouble::KillBeforeAnswer => {
                self.rule(scene, LinkRule::BLOCKED, true)?;
                true
            }
        };
        if !done {
            return Ok(Begun::skipped("the KMS did not run, or did not end by itself"));
        }
        Ok(Begun::on(format!("{:?}", self.trouble)))
    }

    fn during(&mut self, scene: &Scene, until: Instant) -> Result<()> {
        let mut lasts = true;
        if self.trouble == KmsTrouble::KillBeforeAnswer {
            // For half of the time it serves without being heard.
            lasts = scene.ending().wait(until.saturating_duration_since(now()) / 2);
            scene.cluster.server(Part::Kms)?.kill()?;
        }
        if lasts {
            // Being told to end early is no failure.
            let _lasted = scene.ending().wait_until(until);
        }
        Ok(())
    }

    fn verify(&mut self, scene: &Scene) -> Result<Outcome> {
        let life = scene.cluster.server(Part::Kms)?.life()?;
        let counted = |is_meant: fn(Counts) -> bool| {
            comes_to_be_seen(scene, &self.links, self.before, is_meant)
        };
        let seen = match self.trouble {
            KmsTrouble::Kill | KmsTrouble::Stop => life == Life::Down,
            KmsTrouble::Pause => life == Life::Paused,
            KmsTrouble::Slow(_) => counted(|since| since.delayed > 0)?,
            KmsTrouble::Lossy(_) => counted(|since| since.lost > 0)?,
            KmsTrouble::CutOff => counted(|since| since.blocked > 0)?,
            KmsTrouble::KillBeforeAnswer => {
                life == Life::Down && counted(|since| since.blocked > 0)?
            }
        };
        Ok(if seen {
            Outcome::Installed
        } else {
            Outcome::Indeterminate(format!("the KMS is {life:?}, its packets pass unharmed"))
        })
    }

    fn heal(&mut self, scene: &Scene) -> Result<()> {
        if let Some(owner) = self.owner.take() {
            scene.mend(owner)?;
            scene.cluster.switch()?.remove(owner);
        }
        if self.claim.is_some() {
            scene.cluster.server(Part::Kms)?.resume()?;
            start_again(scene, &[Part::Kms])?;
        }
        self.claim = None;
        Ok(())
    }
}

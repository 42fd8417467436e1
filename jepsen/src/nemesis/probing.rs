//! Looks whether links do what they are meant to do, with packets of the harness beside whatever is
//! sent anyway.

use std::time::Duration;

use anyhow::Result;

use super::scene::Scene;
use crate::cluster::addresses::{Host, Link};
use crate::cluster::switch::Counts;
use crate::moment::until;

/// How long it may take until it is seen; a link that loses one packet of a hundred needs some.
const PROBING: Duration = Duration::from_secs(3);

/// Whether what happened to the packets of these links since `before` is what is meant, now or
/// after some more packets.
pub(super) fn comes_to_be_seen(
    scene: &Scene,
    links: &[Link],
    before: Counts,
    is_meant: impl Fn(Counts) -> bool,
) -> Result<bool> {
    // All clients have the same rules, and there are many of them.
    let first = Host::Client(0);
    let is_probed = |link: &&Link| {
        let mut ends = [link.from, link.to].into_iter();
        ends.all(|end| !matches!(end, Host::Client(_)) || end == first)
    };
    let probed: Vec<Link> = links.iter().filter(is_probed).copied().collect();
    let look = || -> Result<bool> {
        let switch = scene.cluster.switch()?;
        switch.check()?;
        if is_meant(switch.counts(links).since(before)) {
            return Ok(true);
        }
        probed.iter().try_for_each(|link| scene.cluster.probe(*link))?;
        Ok(false)
    };
    let seen = until(PROBING, || match look() {
        Ok(seen) => seen.then_some(Ok(())),
        Err(error) => Some(Err(error)),
    });
    Ok(seen.transpose()?.is_some())
}

//! Looks at the cluster all the time: what nodes say of themselves, whether a majority can talk,
//! and whether a server has ended that no fault may end.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;

use super::scene::Scene;
use crate::cluster::part::Part;
use crate::cluster::server::Life;
use crate::moment::now;

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(200);

/// Looks until `is_over`; ends the run when a server has ended by itself.
///
/// # Errors
/// When the network is gone or the kernel does not say what a process does.
pub fn watch(scene: &Scene, is_over: impl Fn() -> bool) -> Result<()> {
    let mut majority = None;
    let mut suspects = BTreeSet::new();
    while !is_over() {
        if let Ok(switch) = scene.cluster.switch() {
            switch.check()?;
        }
        let reachable = scene.majority_reachable();
        if majority != Some(reachable) {
            scene.log.majority(now(), reachable);
            majority = Some(reachable);
        }
        scene.log.observed(now(), &scene.cluster.views());
        suspects = look_for_ends(scene, &suspects)?;
        // Told to end, the run still heals, and that is looked at too.
        std::thread::sleep(PERIOD);
    }
    Ok(())
}

/// The servers that are down without a fault. Down twice in a row is told: a fault that is over
/// may have started it this moment.
fn look_for_ends(scene: &Scene, suspects: &BTreeSet<Part>) -> Result<BTreeSet<Part>> {
    let members = scene.cluster.members().into_iter().map(Part::Node);
    let mut found = BTreeSet::new();
    for part in members.chain([Part::Kms]) {
        let server = scene.cluster.server(part)?;
        if scene.claims.is_taken(part) || server.life()? != Life::Down {
            continue;
        }
        if suspects.contains(&part) {
            let last_words = server.last_words();
            scene.log.unexpected_end(now(), &part.to_string(), &last_words);
            scene.ending().tell(format!("{part} has ended by itself: {last_words}"));
        } else {
            found.insert(part);
        }
    }
    Ok(found)
}

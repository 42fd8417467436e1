//! When a cluster has recovered, as far as its nodes say. What they answer is judged by the laws.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::sampler::Looks;
use super::site::Site;
use crate::client::operator::Look;
use crate::history::ids::NodeId;
use crate::history::sample::RaftRole;

/// Between two looks at the looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until every member follows one leader and can read payloads. False when time is over.
pub async fn recovered(site: &Site, looks: &Looks, patience: Duration) -> bool {
    wait(site, looks, patience, have_recovered).await
}

/// Waits until every member has applied everything that any of them knows. False when time is
/// over. Nothing may be asked of the cluster meanwhile.
pub async fn converged(site: &Site, looks: &Looks, patience: Duration) -> bool {
    wait(site, looks, patience, have_converged).await
}

async fn wait(
    site: &Site,
    looks: &Looks,
    patience: Duration,
    is_so: fn(&[NodeId], &BTreeMap<NodeId, Look>) -> bool,
) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if is_so(&(site.members)(), &looks.newest()) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        sleep(PAUSE).await;
    }
}

fn have_recovered(members: &[NodeId], looks: &BTreeMap<NodeId, Look>) -> bool {
    let of_members: Option<Vec<&Look>> = members.iter().map(|node| looks.get(node)).collect();
    let Some(of_members) = of_members else { return false };
    let leaders = of_members.iter().filter(|look| look.role() == RaftRole::Leader).count();
    let Some(first) = of_members.first() else { return false };
    let agree = |look: &&Look| {
        look.is_unsealed() && look.leader() == first.leader() && look.term() == first.term()
    };
    leaders == 1 && first.leader().is_some() && of_members.iter().all(agree)
}

fn have_converged(members: &[NodeId], looks: &BTreeMap<NodeId, Look>) -> bool {
    if !have_recovered(members, looks) {
        return false;
    }
    let mut applied = members.iter().filter_map(|node| looks.get(node)).map(Look::applied);
    let first = applied.next();
    applied.all(|index| Some(index) == first)
}

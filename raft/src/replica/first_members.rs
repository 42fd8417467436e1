//! Who the first members are: asked before the cluster is formed, like every later one.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use lockbox_core::NodeId;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::Instant;

use super::Inner;
use super::error::InitializeError;
use crate::network::{Probed, probe};
use crate::types::Member;

/// How long a member that does not answer yet is waited for: it may be starting.
const MEMBERS_WAIT: Duration = Duration::from_secs(20);
/// Between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The members with their data directories.
pub(super) async fn ask(
    inner: &Inner,
    members: BTreeMap<NodeId, Member>,
) -> Result<BTreeMap<NodeId, Member>, InitializeError> {
    let me = inner.config.node_id;
    if !members.contains_key(&me) {
        return Err(InitializeError::NotAMember(me));
    }
    if inner.raft.metrics().borrow_watched().last_log_index.is_some() {
        return Err(InitializeError::AlreadyInitialised);
    }
    let by = Instant::now() + MEMBERS_WAIT;
    let asked = members.into_iter().map(|(id, mut member)| async move {
        member.store_id = if id == me {
            inner.gate.store_id()
        } else {
            fresh(id, wait_for(inner, id, &member, by).await?)?.store_id
        };
        Ok::<_, InitializeError>((id, member))
    });
    Ok(try_join_all(asked).await?.into_iter().collect())
}

async fn wait_for(
    inner: &Inner,
    id: NodeId,
    member: &Member,
    by: Instant,
) -> Result<Probed, InitializeError> {
    loop {
        let error = match probe(&inner.links, id, member, by).await {
            Ok(probed) => return Ok(probed),
            Err(error) => error,
        };
        if Instant::now() + RETRY_PAUSE >= by {
            return Err(InitializeError::Unreachable(error));
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Refuses a node that belongs, or belonged, to a cluster.
fn fresh(id: NodeId, probed: Probed) -> Result<Probed, InitializeError> {
    if probed.blank { Ok(probed) } else { Err(InitializeError::NotFresh(id)) }
}

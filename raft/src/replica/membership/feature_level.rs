//! The feature level of the cluster: what each member understands is asked of it, and what all of
//! them do goes into the log.
//!
//! While the level rises nobody can become a member, for the turn is taken; later nobody can who
//! understands less. A member whose build is replaced by an older one ends at its start.

use futures::future::try_join_all;
use lockbox_core::NodeId;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::Instant;

use super::change::{Change, not_leader};
use super::{ChangeError, ChangeRefusal, Seen};
use crate::domain::command::Command;
use crate::domain::feature_level::FEATURE_LEVEL_MAX;
use crate::network::probe;
use crate::replica::Replica;
use crate::replica::error::ProposeError;
use crate::state::tables;

/// What the build of a member understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberFeatures {
    /// The member.
    pub node_id: NodeId,
    /// The highest feature level that it understands.
    pub feature_level: u32,
    /// The version of its program; empty of builds that do not say.
    pub version: String,
}

/// The level of the cluster, and of each member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureLevels {
    /// The cluster's level now.
    pub level: u32,
    /// Whether this call raised it: a repeat finds it done.
    pub raised: bool,
    /// All members, by id.
    pub members: Vec<MemberFeatures>,
}

impl Replica {
    /// The level that all members understand, as they say themselves; once there is a membership.
    /// Changes nothing.
    ///
    /// # Errors
    /// [`ChangeError::Unreachable`] when a member does not answer.
    pub async fn common_feature_level(&self, deadline: Instant) -> Result<u32, ChangeError> {
        // The core publishes a membership that it has just taken when it comes round.
        let mut metrics = self.0.raft.metrics();
        let formed = metrics
            .wait_until(|metrics| metrics.membership_config.membership().nodes().next().is_some());
        match tokio::time::timeout_at(deadline, formed).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Err(ChangeError::Stopped),
            Err(_elapsed) => return Err(ChangeError::Deadline),
        }
        Ok(common(&ask_all(self, &Seen::of(self), deadline).await?))
    }

    /// The cluster's level and those of its members, as the leader sees them. Changes nothing.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn feature_levels(&self, deadline: Instant) -> Result<FeatureLevels, ChangeError> {
        let change = Change::begin(self, None, deadline).await?;
        let members = ask_all(self, &change.seen, deadline).await?;
        Ok(FeatureLevels { level: change.feature_level()?, raised: false, members })
    }

    /// Raises the cluster's level, to `to` or to the highest that all members understand. From
    /// then on builds that understand less have no place in the cluster: there is no way back.
    ///
    /// # Errors
    /// [`ChangeError`]; [`ChangeError::Unreachable`] when a member does not answer,
    /// [`ChangeRefusal::FeatureLevel`] when one does not understand the level.
    pub async fn raise_feature_level(
        &self,
        to: Option<u32>,
        deadline: Instant,
    ) -> Result<FeatureLevels, ChangeError> {
        let change = Change::begin(self, None, deadline).await?;
        let members = ask_all(self, &change.seen, deadline).await?;
        let (now, wanted) = (change.feature_level()?, to.unwrap_or_else(|| common(&members)));
        if let Some(behind) = members.iter().find(|member| member.feature_level < wanted) {
            let (node_id, level) = (behind.node_id, behind.feature_level);
            return Err(ChangeRefusal::FeatureLevel { node_id, level, wanted }.into());
        }
        if wanted <= now {
            return Ok(FeatureLevels { level: now, raised: false, members });
        }
        let command = Command::RaiseFeatureLevel { level: wanted };
        let proposed = self.propose_as_leader(command, deadline).await;
        proposed.map_err(|error| match error {
            ProposeError::NotProposed(_) => not_leader(self),
            ProposeError::Unknown(reason) => ChangeError::Unknown(reason.to_string()),
            ProposeError::Storage(_) => ChangeError::Stopped,
        })?;
        tracing::info!(level = wanted, "the feature level of the cluster has risen");
        Ok(FeatureLevels { level: change.feature_level()?, raised: true, members })
    }
}

impl Change<'_> {
    /// The feature level that the cluster is at.
    pub(super) fn feature_level(&self) -> Result<u32, ChangeError> {
        let looked = self.replica.read_stale(|view, _| tables::feature_level(view));
        looked.and_then(|reading| reading.value).map_err(|_reported| ChangeError::Stopped)
    }
}

/// What all of them understand.
fn common(members: &[MemberFeatures]) -> u32 {
    members.iter().map(|member| member.feature_level).min().unwrap_or_default()
}

/// Asks every member, learners too: each of them applies the log.
async fn ask_all(
    replica: &Replica,
    seen: &Seen,
    deadline: Instant,
) -> Result<Vec<MemberFeatures>, ChangeError> {
    let me = replica.0.config.node_id;
    let asked = seen.stored.membership().nodes().map(|(id, member)| {
        let (node_id, member) = (*id, member.clone());
        async move {
            if node_id == me {
                let version = env!("CARGO_PKG_VERSION").to_owned();
                return Ok(MemberFeatures { node_id, feature_level: FEATURE_LEVEL_MAX, version });
            }
            let probed = probe(&replica.0.links, node_id, &member, deadline).await?;
            let (feature_level, version) = (probed.feature_level, probed.version);
            Ok::<_, ChangeError>(MemberFeatures { node_id, feature_level, version })
        }
    });
    try_join_all(asked).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_build_decides() {
        let member = |node_id, feature_level| MemberFeatures {
            node_id,
            feature_level,
            version: String::new(),
        };
        assert_eq!(common(&[member(1, 2), member(2, 0), member(3, 1)]), 0);
        assert_eq!(common(&[member(1, 2), member(2, 3)]), 2);
        assert_eq!(common(&[]), 0);
    }
}

//! The feature level: the end of an upgrade, and what each member understands before it.

use std::collections::BTreeMap;

use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::cluster::v1 as wire;
use lockbox_raft::replica::MemberFeatures;

use super::Work;
use super::failure::unchanged;
use crate::call::Call;

impl Work for wire::RaiseFeatureLevelRequest {
    type Answer = wire::RaiseFeatureLevelResponse;
    const EVENT: &'static str = "RaiseFeatureLevel";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        let (level, dry_run) = (self.level.to_string(), self.dry_run.to_string());
        BTreeMap::from([("level", level), ("dry_run", dry_run)])
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let (replica, deadline) = (&call.app.replica, call.context.deadline);
        let levels = if self.dry_run {
            replica.feature_levels(deadline).await
        } else {
            let to = Some(self.level).filter(|level| *level != 0);
            replica.raise_feature_level(to, deadline).await
        };
        let levels = levels.map_err(|error| unchanged(&error))?;
        Ok(wire::RaiseFeatureLevelResponse {
            level: levels.level,
            raised: levels.raised,
            members: levels.members.into_iter().map(member).collect(),
        })
    }
}

fn member(member: MemberFeatures) -> wire::MemberFeatures {
    wire::MemberFeatures {
        node_id: member.node_id,
        feature_level: member.feature_level,
        version: member.version,
    }
}

//! `lockbox cluster raise-feature-level`: the end of a rolling upgrade.

use clap::Args;
use lockbox_proto::lockbox::cluster::v1 as wire;
use wire::admin_service_client::AdminServiceClient;

use crate::cli::failure::Failure;
use crate::cli::output::{self, Record};
use crate::cli::peer::PeerTarget;

/// What all members are to understand.
#[derive(Debug, Args)]
pub(crate) struct RaiseFeatureLevel {
    /// The level; the highest that all members understand when not given.
    #[arg(value_name = "LEVEL", value_parser = clap::value_parser!(u32).range(1..))]
    level: Option<u32>,
    /// Change nothing, and show what each member understands.
    #[arg(long)]
    dry_run: bool,
}

impl RaiseFeatureLevel {
    pub(crate) fn run(&self, target: &PeerTarget<'_>) -> Result<String, Failure> {
        let level = self.level.unwrap_or_default();
        let request = wire::RaiseFeatureLevelRequest { level, dry_run: self.dry_run };
        let answer = target.ask_leader(&request, async |channel, request| {
            AdminServiceClient::new(channel).raise_feature_level(request).await
        })?;
        output::one(target.format, &Record::of(&answer)?)
    }
}

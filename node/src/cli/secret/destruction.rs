//! `lockbox secret schedule-version-destruction` and `cancel-version-destruction`.

use clap::Args;
use lockbox_proto::yandex::cloud::lockbox::v1::secret_service_client::SecretServiceClient;
use lockbox_proto::yandex::cloud::lockbox::v1::{
    CancelVersionDestructionRequest, ScheduleVersionDestructionRequest,
};

use crate::cli::connect::Context;
use crate::cli::failure::Failure;
use crate::cli::period::{self, Period};
use crate::cli::secret::mutation::MutationFlags;
use crate::cli::secret::target::Target;

/// The version to destroy.
#[derive(Debug, Args)]
pub(crate) struct ScheduleVersionDestruction {
    #[command(flatten)]
    target: Target,
    /// The version.
    #[arg(long, value_name = "ID")]
    version_id: String,
    /// Until then it can be cancelled, for example 168h or 1h30m; 7 days when not given.
    #[arg(long, value_name = "DURATION", value_parser = period::parse)]
    pending_period: Option<Period>,
    #[command(flatten)]
    mutation: MutationFlags,
}

impl ScheduleVersionDestruction {
    /// Makes the version unreadable now and destroys it later; shows it.
    pub(crate) fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        context.run(async |session| {
            let secret_id = self.target.resolve(session, context).await?;
            let request = ScheduleVersionDestructionRequest {
                secret_id,
                version_id: self.version_id.clone(),
                pending_period: self.pending_period.map(Period::to_wire),
            };
            let send = async |channel, request| {
                SecretServiceClient::new(channel).schedule_version_destruction(request).await
            };
            let operation = self.mutation.call(session, &request, send).await?;
            self.mutation.finish(session, operation, context.format()).await
        })
    }
}

/// The version to keep.
#[derive(Debug, Args)]
pub(crate) struct CancelVersionDestruction {
    #[command(flatten)]
    target: Target,
    /// The version.
    #[arg(long, value_name = "ID")]
    version_id: String,
    #[command(flatten)]
    mutation: MutationFlags,
}

impl CancelVersionDestruction {
    /// Makes a version that was to be destroyed readable again; shows it.
    pub(crate) fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        context.run(async |session| {
            let secret_id = self.target.resolve(session, context).await?;
            let version_id = self.version_id.clone();
            let request = CancelVersionDestructionRequest { secret_id, version_id };
            let send = async |channel, request| {
                SecretServiceClient::new(channel).cancel_version_destruction(request).await
            };
            let operation = self.mutation.call(session, &request, send).await?;
            self.mutation.finish(session, operation, context.format()).await
        })
    }
}

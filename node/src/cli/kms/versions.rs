//! `lockbox kms symmetric-key set-primary-version`, `schedule-` and `cancel-version-destruction`.

use clap::Args;
use lockbox_proto::yandex::cloud::kms::v1::symmetric_key_service_client::SymmetricKeyServiceClient;
use lockbox_proto::yandex::cloud::kms::v1::{
    CancelSymmetricKeyVersionDestructionRequest, ScheduleSymmetricKeyVersionDestructionRequest,
    SetPrimarySymmetricKeyVersionRequest,
};

use crate::cli::failure::Failure;
use crate::cli::kms::connect::KmsContext;
use crate::cli::kms::target::KeyTarget;
use crate::cli::period::{self, Period};
use crate::cli::secret::mutation::MutationFlags;

/// A version of a key.
#[derive(Debug, Args)]
pub(crate) struct OfVersion {
    #[command(flatten)]
    target: KeyTarget,
    /// The version.
    #[arg(long, value_name = "ID")]
    version_id: String,
    #[command(flatten)]
    mutation: MutationFlags,
}

impl OfVersion {
    /// Makes the version primary; shows the key.
    pub(crate) fn set_primary(self, context: &KmsContext<'_>) -> Result<String, Failure> {
        context.run(async |kms| {
            let key_id = self.target.resolve(kms).await?;
            let version_id = self.version_id.clone();
            let request = SetPrimarySymmetricKeyVersionRequest { key_id, version_id };
            let send = async |channel, request| {
                SymmetricKeyServiceClient::new(channel).set_primary_version(request).await
            };
            let operation = self.mutation.call(&kms.session, &request, send).await?;
            self.mutation.finish(&kms.session, operation, context.format()).await
        })
    }

    /// Opens the version that was to be destroyed; shows it.
    pub(crate) fn cancel(self, context: &KmsContext<'_>) -> Result<String, Failure> {
        context.run(async |kms| {
            let key_id = self.target.resolve(kms).await?;
            let version_id = self.version_id.clone();
            let request = CancelSymmetricKeyVersionDestructionRequest { key_id, version_id };
            let send = async |channel, request| {
                SymmetricKeyServiceClient::new(channel).cancel_version_destruction(request).await
            };
            let operation = self.mutation.call(&kms.session, &request, send).await?;
            self.mutation.finish(&kms.session, operation, context.format()).await
        })
    }
}

/// The version to destroy.
#[derive(Debug, Args)]
pub(crate) struct ScheduleVersionDestruction {
    #[command(flatten)]
    of: OfVersion,
    /// Until then it can be cancelled, for example 168h; 7 days when not given.
    #[arg(long, value_name = "DURATION", value_parser = period::parse)]
    pending_period: Option<Period>,
}

impl ScheduleVersionDestruction {
    /// Closes the version now and destroys it later; shows it.
    pub(crate) fn run(self, context: &KmsContext<'_>) -> Result<String, Failure> {
        let Self { of: OfVersion { target, version_id, mutation }, pending_period } = self;
        context.run(async |kms| {
            let request = ScheduleSymmetricKeyVersionDestructionRequest {
                key_id: target.resolve(kms).await?,
                version_id,
                pending_period: pending_period.map(Period::to_wire),
            };
            let send = async |channel, request| {
                SymmetricKeyServiceClient::new(channel).schedule_version_destruction(request).await
            };
            let operation = mutation.call(&kms.session, &request, send).await?;
            mutation.finish(&kms.session, operation, context.format()).await
        })
    }
}

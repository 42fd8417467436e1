//! `lockbox secret set-current-version`.

use clap::Args;
use lockbox_proto::yandex::cloud::lockbox::v1::SetCurrentVersionRequest;
use lockbox_proto::yandex::cloud::lockbox::v1::secret_service_client::SecretServiceClient;

use crate::cli::connect::Context;
use crate::cli::failure::Failure;
use crate::cli::secret::mutation::MutationFlags;
use crate::cli::secret::target::Target;

/// The version to make current.
#[derive(Debug, Args)]
pub(crate) struct SetCurrentVersion {
    #[command(flatten)]
    target: Target,
    /// The version.
    #[arg(long, value_name = "ID")]
    version_id: String,
    #[command(flatten)]
    mutation: MutationFlags,
}

impl SetCurrentVersion {
    /// Moves the pointer; shows the version.
    pub(crate) fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        context.run(async |session| {
            let secret_id = self.target.resolve(session, context).await?;
            let request =
                SetCurrentVersionRequest { secret_id, version_id: self.version_id.clone() };
            let send = async |channel, request| {
                SecretServiceClient::new(channel).set_current_version(request).await
            };
            let operation = self.mutation.call(session, &request, send).await?;
            self.mutation.finish(session, operation, context.format()).await
        })
    }
}

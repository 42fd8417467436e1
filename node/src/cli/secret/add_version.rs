//! `lockbox secret add-version`.

use clap::Args;
use lockbox_proto::yandex::cloud::lockbox::v1::AddVersionRequest;
use lockbox_proto::yandex::cloud::lockbox::v1::secret_service_client::SecretServiceClient;

use crate::cli::connect::Context;
use crate::cli::failure::Failure;
use crate::cli::secret::mutation::MutationFlags;
use crate::cli::secret::payload_flag::PayloadFlag;
use crate::cli::secret::target::Target;

/// The new version.
#[derive(Debug, Args)]
pub(crate) struct AddVersion {
    #[command(flatten)]
    target: Target,
    /// What the version is about.
    #[arg(long)]
    description: Option<String>,
    /// The version that the payload changes; the current one when not given.
    #[arg(long, value_name = "ID")]
    base_version_id: Option<String>,
    #[command(flatten)]
    payload: PayloadFlag,
    #[command(flatten)]
    mutation: MutationFlags,
}

impl AddVersion {
    /// Adds the version; shows it.
    pub(crate) fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        let Self { target, description, base_version_id, payload, mutation } = self;
        let payload_entries = payload.entries()?;
        context.run(async |session| {
            let request = AddVersionRequest {
                secret_id: target.resolve(session, context).await?,
                description: description.clone().unwrap_or_default(),
                payload_entries: payload_entries.clone(),
                base_version_id: base_version_id.clone().unwrap_or_default(),
            };
            let send = async |channel, request| {
                SecretServiceClient::new(channel).add_version(request).await
            };
            let operation = mutation.call(session, &request, send).await?;
            mutation.finish(session, operation, context.format()).await
        })
    }
}

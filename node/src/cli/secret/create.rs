//! `lockbox secret create`.

use clap::Args;
use lockbox_proto::yandex::cloud::lockbox::v1::CreateSecretRequest;
use lockbox_proto::yandex::cloud::lockbox::v1::secret_service_client::SecretServiceClient;

use crate::cli::connect::Context;
use crate::cli::failure::Failure;
use crate::cli::secret::labels::{self, Labels};
use crate::cli::secret::mutation::MutationFlags;
use crate::cli::secret::payload_flag::PayloadFlag;

/// The new secret.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The secret's name.
    #[arg(long)]
    name: Option<String>,
    /// What it is for.
    #[arg(long)]
    description: Option<String>,
    /// Labels.
    #[arg(long, value_name = "KEY=VALUE,...", value_parser = labels::parse)]
    labels: Option<Labels>,
    /// The symmetric key that protects it; the common key when not given.
    #[arg(long, value_name = "ID")]
    kms_key_id: Option<String>,
    /// What the first version is about.
    #[arg(long)]
    version_description: Option<String>,
    /// Refuse to delete the secret while this is set.
    #[arg(long)]
    deletion_protection: bool,
    #[command(flatten)]
    payload: PayloadFlag,
    #[command(flatten)]
    mutation: MutationFlags,
}

impl Create {
    /// Creates the secret; shows it.
    pub(crate) fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        let folder = context.folder()?;
        let request = CreateSecretRequest {
            name: self.name.unwrap_or_default(),
            description: self.description.unwrap_or_default(),
            labels: self.labels.unwrap_or_default().0,
            kms_key_id: self.kms_key_id.unwrap_or_default(),
            version_description: self.version_description.unwrap_or_default(),
            version_payload_entries: self.payload.entries()?,
            deletion_protection: self.deletion_protection,
            ..CreateSecretRequest::default()
        };
        let mutation = self.mutation;
        context.run(async |session| {
            let mut request = request;
            request.folder_id = folder.id(session).await?;
            let send =
                async |channel, request| SecretServiceClient::new(channel).create(request).await;
            let operation = mutation.call(session, &request, send).await?;
            mutation.finish(session, operation, context.format()).await
        })
    }
}

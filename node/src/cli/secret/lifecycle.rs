//! `lockbox secret delete`, `activate` and `deactivate`.

use clap::Args;
use lockbox_proto::yandex::cloud::lockbox::v1::secret_service_client::SecretServiceClient;
use lockbox_proto::yandex::cloud::lockbox::v1::{
    ActivateSecretRequest, DeactivateSecretRequest, DeleteSecretRequest,
};

use crate::cli::connect::Context;
use crate::cli::failure::Failure;
use crate::cli::secret::mutation::MutationFlags;
use crate::cli::secret::target::Target;

/// The secret to change as a whole.
#[derive(Debug, Args)]
pub(crate) struct Whole {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    mutation: MutationFlags,
}

impl Whole {
    /// Deletes the secret with all its versions, for good; shows what it was.
    pub(crate) fn delete(self, context: &Context<'_>) -> Result<String, Failure> {
        context.run(async |session| {
            let secret_id = self.target.resolve(session, context).await?;
            let send =
                async |channel, request| SecretServiceClient::new(channel).delete(request).await;
            let request = DeleteSecretRequest { secret_id };
            let operation = self.mutation.call(session, &request, send).await?;
            self.mutation.finish(session, operation, context.format()).await
        })
    }

    /// Makes the secret's payloads readable; shows it.
    pub(crate) fn activate(self, context: &Context<'_>) -> Result<String, Failure> {
        context.run(async |session| {
            let secret_id = self.target.resolve(session, context).await?;
            let send =
                async |channel, request| SecretServiceClient::new(channel).activate(request).await;
            let request = ActivateSecretRequest { secret_id };
            let operation = self.mutation.call(session, &request, send).await?;
            self.mutation.finish(session, operation, context.format()).await
        })
    }

    /// Makes the secret's payloads unreadable until it is activated; shows it.
    pub(crate) fn deactivate(self, context: &Context<'_>) -> Result<String, Failure> {
        context.run(async |session| {
            let secret_id = self.target.resolve(session, context).await?;
            let send = async |channel, request| {
                SecretServiceClient::new(channel).deactivate(request).await
            };
            let request = DeactivateSecretRequest { secret_id };
            let operation = self.mutation.call(session, &request, send).await?;
            self.mutation.finish(session, operation, context.format()).await
        })
    }
}

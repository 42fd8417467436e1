//! `lockbox kms symmetric-key delete` and `rotate`.

use clap::Args;
use lockbox_proto::yandex::cloud::kms::v1::symmetric_key_service_client::SymmetricKeyServiceClient;
use lockbox_proto::yandex::cloud::kms::v1::{DeleteSymmetricKeyRequest, RotateSymmetricKeyRequest};

use crate::cli::failure::Failure;
use crate::cli::kms::connect::KmsContext;
use crate::cli::kms::target::KeyTarget;
use crate::cli::secret::mutation::MutationFlags;

/// The key to change as a whole.
#[derive(Debug, Args)]
pub(crate) struct Whole {
    #[command(flatten)]
    target: KeyTarget,
    #[command(flatten)]
    mutation: MutationFlags,
}

impl Whole {
    /// Deletes the key; shows what it was.
    pub(crate) fn delete(self, context: &KmsContext<'_>) -> Result<String, Failure> {
        context.run(async |kms| {
            let key_id = self.target.resolve(kms).await?;
            let send = async |channel, request| {
                SymmetricKeyServiceClient::new(channel).delete(request).await
            };
            let request = DeleteSymmetricKeyRequest { key_id };
            let operation = self.mutation.call(&kms.session, &request, send).await?;
            self.mutation.finish(&kms.session, operation, context.format()).await
        })
    }

    /// Adds a version and makes it primary; shows the key.
    pub(crate) fn rotate(self, context: &KmsContext<'_>) -> Result<String, Failure> {
        context.run(async |kms| {
            let key_id = self.target.resolve(kms).await?;
            let send = async |channel, request| {
                SymmetricKeyServiceClient::new(channel).rotate(request).await
            };
            let request = RotateSymmetricKeyRequest { key_id };
            let operation = self.mutation.call(&kms.session, &request, send).await?;
            self.mutation.finish(&kms.session, operation, context.format()).await
        })
    }
}

//! `lockbox kms symmetric-key create`.

use clap::{Args, ValueEnum};
use lockbox_proto::yandex::cloud::kms::v1::symmetric_key_service_client::SymmetricKeyServiceClient;
use lockbox_proto::yandex::cloud::kms::v1::{CreateSymmetricKeyRequest, SymmetricAlgorithm};

use crate::cli::failure::Failure;
use crate::cli::kms::connect::KmsContext;
use crate::cli::period::{self, Period};
use crate::cli::secret::labels::{self, Labels};
use crate::cli::secret::mutation::MutationFlags;

/// What a version encrypts with (`contract §11`). Whether a server has it, the server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Algorithm {
    /// AES in GCM with 128 bits.
    #[value(name = "aes-128")]
    Aes128,
    /// AES in GCM with 192 bits.
    #[value(name = "aes-192")]
    Aes192,
    /// AES in GCM with 256 bits.
    #[value(name = "aes-256")]
    Aes256,
    /// AES with 256 bits in a hardware module.
    #[value(name = "aes-256-hsm")]
    Aes256Hsm,
    /// Kuznyechik with 256 bits.
    #[value(name = "gost-r-3412-2015-k")]
    GostR34122015K,
}

impl From<Algorithm> for SymmetricAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Aes128 => Self::Aes128,
            Algorithm::Aes192 => Self::Aes192,
            Algorithm::Aes256 => Self::Aes256,
            Algorithm::Aes256Hsm => Self::Aes256Hsm,
            Algorithm::GostR34122015K => Self::GostR34122015K,
        }
    }
}

/// The new key.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The key's name.
    #[arg(long)]
    name: Option<String>,
    /// What it is for.
    #[arg(long)]
    description: Option<String>,
    /// Labels.
    #[arg(long, value_name = "KEY=VALUE,...", value_parser = labels::parse)]
    labels: Option<Labels>,
    /// What its versions encrypt with.
    #[arg(long, value_enum, default_value_t = Algorithm::Aes256)]
    default_algorithm: Algorithm,
    /// Time between automatic rotations, for example 2160h; none when not given.
    #[arg(long, value_name = "DURATION", value_parser = period::parse)]
    rotation_period: Option<Period>,
    /// Refuse to delete the key while this is set.
    #[arg(long)]
    deletion_protection: bool,
    #[command(flatten)]
    mutation: MutationFlags,
}

impl Create {
    /// Creates the key; shows it.
    pub(crate) fn run(self, context: &KmsContext<'_>) -> Result<String, Failure> {
        let folder = context.folder()?;
        let mutation = self.mutation;
        let request = CreateSymmetricKeyRequest {
            name: self.name.unwrap_or_default(),
            description: self.description.unwrap_or_default(),
            labels: self.labels.unwrap_or_default().0,
            default_algorithm: SymmetricAlgorithm::from(self.default_algorithm).into(),
            rotation_period: self.rotation_period.map(Period::to_wire),
            deletion_protection: self.deletion_protection,
            ..CreateSymmetricKeyRequest::default()
        };
        context.run(async |kms| {
            let mut request = request;
            request.folder_id = folder.id(kms.node).await?;
            let send = async |channel, request| {
                SymmetricKeyServiceClient::new(channel).create(request).await
            };
            let operation = mutation.call(&kms.session, &request, send).await?;
            mutation.finish(&kms.session, operation, context.format()).await
        })
    }
}

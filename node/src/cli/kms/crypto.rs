//! `lockbox kms symmetric-crypto encrypt` and `decrypt`.
//!
//! Promises: without an output file, standard output is the result, byte for byte, nothing else.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use lockbox_core::SensitiveBytes;
use lockbox_proto::yandex::cloud::kms::v1::symmetric_crypto_service_client::SymmetricCryptoServiceClient;
use lockbox_proto::yandex::cloud::kms::v1::{SymmetricDecryptRequest, SymmetricEncryptRequest};

use super::connect::KmsContext;
use super::files;
use super::target::KeyTarget;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::session::Kind;

/// What to do with bytes.
#[derive(Debug, Subcommand)]
pub(super) enum CryptoCommand {
    /// Encrypts a file, or standard input.
    Encrypt(Encrypt),
    /// Decrypts a file, or standard input.
    Decrypt(Decrypt),
}

#[derive(Debug, Args)]
pub(super) struct Encrypt {
    #[command(flatten)]
    target: KeyTarget,
    /// The version to encrypt with; the primary one when not given.
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    version_id: Option<String>,
    /// What to encrypt; - is standard input.
    #[arg(long, value_name = "FILE")]
    plaintext_file: PathBuf,
    /// Where the ciphertext goes; standard output when not given.
    #[arg(long, value_name = "FILE")]
    ciphertext_file: Option<PathBuf>,
    /// What is authenticated beside it and must be given again to decrypt.
    #[arg(long, value_name = "FILE")]
    aad_context_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Decrypt {
    #[command(flatten)]
    target: KeyTarget,
    /// What to decrypt; - is standard input.
    #[arg(long, value_name = "FILE")]
    ciphertext_file: PathBuf,
    /// Where the plaintext goes, for its owner alone; standard output when not given.
    #[arg(long, value_name = "FILE")]
    plaintext_file: Option<PathBuf>,
    /// What was authenticated beside it.
    #[arg(long, value_name = "FILE")]
    aad_context_file: Option<PathBuf>,
}

impl CryptoCommand {
    /// Does it; writes what came of it.
    pub(super) fn run(self, context: &KmsContext<'_>) -> Result<(), Failure> {
        match self {
            Self::Encrypt(command) => command.run(context),
            Self::Decrypt(command) => command.run(context),
        }
    }
}

impl Encrypt {
    fn run(self, context: &KmsContext<'_>) -> Result<(), Failure> {
        let plaintext = files::read(&self.plaintext_file)?;
        let aad_context = aad_context(self.aad_context_file)?;
        let ciphertext = context.run(async |kms| {
            let request = SymmetricEncryptRequest {
                key_id: self.target.resolve(kms).await?,
                version_id: self.version_id.clone().unwrap_or_default(),
                aad_context,
                plaintext: plaintext.expose().clone(),
            };
            // Done twice it is billed twice, and nothing else.
            let send = async |channel, request| {
                SymmetricCryptoServiceClient::new(channel).encrypt(request).await
            };
            Ok(kms.session.call(Kind::Repeatable, &request, send).await?.ciphertext)
        })?;
        put(self.ciphertext_file, &SensitiveBytes::new(ciphertext))
    }
}

impl Decrypt {
    fn run(self, context: &KmsContext<'_>) -> Result<(), Failure> {
        let ciphertext = files::read(&self.ciphertext_file)?;
        let aad_context = aad_context(self.aad_context_file)?;
        let plaintext = context.run(async |kms| {
            let request = SymmetricDecryptRequest {
                key_id: self.target.resolve(kms).await?,
                aad_context,
                ciphertext: ciphertext.expose().clone(),
            };
            let send = async |channel, request| {
                SymmetricCryptoServiceClient::new(channel).decrypt(request).await
            };
            let answer = kms.session.call(Kind::Repeatable, &request, send).await?;
            Ok(SensitiveBytes::new(answer.plaintext))
        })?;
        put(self.plaintext_file, &plaintext)
    }
}

fn aad_context(file: Option<PathBuf>) -> Result<Vec<u8>, Failure> {
    let context = file.map(|file| files::read(&file)).transpose()?;
    Ok(context.map(|context| context.expose().clone()).unwrap_or_default())
}

/// Writes the result where it belongs.
fn put(file: Option<PathBuf>, bytes: &SensitiveBytes) -> Result<(), Failure> {
    match file {
        Some(file) if !files::is_standard(&file) => files::write(&file, bytes.expose()),
        Some(_) | None => output::write(bytes.expose()),
    }
}

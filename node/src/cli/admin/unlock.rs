//! What a backup is opened with, and by what its signer is known.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use lockbox_core::SensitiveString;
use lockbox_platform::sealed_file::{FileKey, RecipientKey};
use lockbox_platform::system::SystemRandom;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::backup::BackupError;
use crate::backup::verify::{Verified, key_by_kms, key_for, verify};
use crate::cli::failure::{Exit, Failure};
use crate::cli::supervise;
use crate::config::Config;
use crate::kms::KmsClient;
use crate::server::kms_client;

/// How long the KMS may take for one answer.
const KMS_TIMEOUT: Duration = Duration::from_secs(30);

/// Flags of every command that reads a backup.
#[derive(Debug, Args)]
pub(crate) struct Unlock {
    /// The file that `backup keygen` has made. Without it the KMS is asked, as the node of --config.
    #[arg(long, value_name = "FILE")]
    pub(crate) recipient_key: Option<PathBuf>,
    /// The cluster's key for backups, as `admin backup` has told it. Without it the KMS is asked
    /// whether it was the cluster that has signed.
    #[arg(long, value_name = "HEX", value_parser = signer, conflicts_with = "any_signer")]
    signer: Option<Signer>,
    /// Take a backup whoever has signed it. Who knows the recipients can make one.
    #[arg(long)]
    any_signer: bool,
}

/// The half of a key that verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Signer([u8; 32]);

fn signer(text: &str) -> Result<Signer, String> {
    let mut key = [0; 32];
    let decoded = hex::decode_to_slice(text, &mut key);
    decoded.map(|()| Signer(key)).map_err(|_error| "must be 64 hexadecimal digits".to_owned())
}

/// A backup that may be restored.
pub(crate) struct Opened {
    pub(crate) key: FileKey,
    pub(crate) verified: Verified,
}

impl Unlock {
    /// Reads a backup to its end, and makes sure that its signer is who it should be.
    pub(crate) fn open(&self, path: &Path, config: Option<&Config>) -> Result<Opened, Failure> {
        let refused = |error: &BackupError| refused(path, error);
        let asks_kms = self.recipient_key.is_none() || !(self.any_signer || self.signer.is_some());
        let kms = asks_kms.then(|| Kms::of(config)).transpose()?;
        let key = match (&self.recipient_key, &kms) {
            (Some(file), _) => {
                let recipient = recipient_key(file)?;
                key_for(path, &recipient).map_err(|error| refused(&error))?
            }
            (None, Some(kms)) => kms.key(path).map_err(|error| refused(&error))?,
            (None, None) => return Err(nobody()),
        };
        let verified = verify(path, &key).map_err(|error| refused(&error))?;
        let checked = match (&self.signer, &kms) {
            (Some(Signer(signer)), _) => verified.check_signer(signer),
            (None, Some(kms)) if !self.any_signer => kms.check(&verified),
            (None, _) => Ok(()),
        };
        checked.map_err(|error| refused(&error))?;
        Ok(Opened { key, verified })
    }
}

fn nobody() -> Failure {
    Failure::usage("nobody opens the backup: give --recipient-key, or --config to ask the KMS")
}

/// A file that is not taken.
pub(crate) fn refused(path: &Path, error: &BackupError) -> Failure {
    Failure::new(Exit::Refused, format_args!("{}: {error}", path.display()))
}

fn recipient_key(path: &Path) -> Result<RecipientKey, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format_args!("cannot read the key {}: {error}", path.display()))
    })?;
    let text = SensitiveString::new(text);
    RecipientKey::parse(text.expose())
        .map_err(|error| Failure::usage(format_args!("{}: {error}", path.display())))
}

/// The KMS as a node is known to it, and what waits for its answers.
struct Kms {
    runtime: Runtime,
    client: KmsClient,
}

impl Kms {
    fn of(config: Option<&Config>) -> Result<Self, Failure> {
        let config = config.ok_or_else(|| {
            Failure::usage("the KMS is to be asked: give --config, or --recipient-key and --signer")
        })?;
        let runtime = supervise::runtime()?;
        let client = {
            // Its channel belongs to a runtime.
            let _entered = runtime.enter();
            kms_client(config, Arc::new(SystemRandom)).map_err(Failure::usage)?
        };
        Ok(Self { runtime, client })
    }

    fn key(&self, path: &Path) -> Result<FileKey, BackupError> {
        self.runtime.block_on(key_by_kms(path, &self.client, by()))
    }

    fn check(&self, verified: &Verified) -> Result<(), BackupError> {
        self.runtime.block_on(verified.check_signer_by_kms(&self.client, by()))
    }
}

fn by() -> Instant {
    Instant::now() + KMS_TIMEOUT
}

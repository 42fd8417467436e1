//! Reads a backup to its end, before anything is made of it.

use std::fs::File;
use std::path::Path;

use lockbox_core::KmsKeyId;
use lockbox_platform::sealed_file::{
    self, FileKey, Heading, RecipientKey, SealedFile, SealedFileError, Wrap,
};
use lockbox_raft::domain::codec;
use lockbox_raft::domain::identity::ClusterRecord;
use lockbox_raft::domain::keyring::{KeyPurpose, KeyStage, KeyringKeyRecord};
use lockbox_raft::state::{Space, keys};
use tokio::time::Instant;

use super::content::{BackupEnd, BackupHead, ContentReader, Item, KIND};
use super::seal_for::kms_data;
use super::{BackupError, signer};
use crate::keyring::{KeyRing, associated_data};
use crate::kms::KmsClient;
use crate::seal::SymmetricKey;

/// A backup that was read to its end: whole, and signed by whom it names.
#[derive(Debug)]
pub struct Verified {
    /// Its head.
    pub head: BackupHead,
    /// Its end.
    pub end: BackupEnd,
    /// The cluster's record in it.
    pub cluster: ClusterRecord,
    /// The keyring in it, wrapped.
    pub keyring: Vec<KeyringKeyRecord>,
}

/// Begins to read a file.
///
/// # Errors
/// [`BackupError`] when it is none, or is no backup of a cluster.
pub fn begin(path: &Path) -> Result<SealedFile<File>, BackupError> {
    let file = File::open(path).map_err(|error| BackupError::File(error.into()))?;
    let file = SealedFile::begin(file)?;
    if file.heading().kind != KIND {
        return Err(BackupError::OtherKind(file.heading().kind.clone()));
    }
    Ok(file)
}

/// Whether a file is as it was written, as far as that can be told without a key.
///
/// # Errors
/// [`BackupError`].
pub fn check(path: &Path) -> Result<Heading, BackupError> {
    begin(path)?;
    let file = File::open(path).map_err(|error| BackupError::File(error.into()))?;
    Ok(sealed_file::check(file)?)
}

/// The key of a file, as one of its recipients has it.
///
/// # Errors
/// [`BackupError`].
pub fn key_for(path: &Path, recipient: &RecipientKey) -> Result<FileKey, BackupError> {
    let file = begin(path)?;
    let nobody = || SealedFileError::NoKey(file.heading().holders());
    Ok(file.key_for(recipient).ok_or_else(nobody)?)
}

/// The key of a file, as the KMS has it.
///
/// # Errors
/// [`BackupError`].
pub async fn key_by_kms(
    path: &Path,
    kms: &KmsClient,
    deadline: Instant,
) -> Result<FileKey, BackupError> {
    let file = begin(path)?;
    let heading = file.heading();
    let by_kms = heading.wraps.iter().find_map(|wrap| match wrap {
        Wrap::Kms { key_id, wrapped } => Some((key_id, wrapped)),
        Wrap::Recipient { .. } => None,
    });
    let no_key = || SealedFileError::NoKey(heading.holders());
    let (key_id, wrapped) = by_kms.ok_or_else(no_key)?;
    // It goes into a request, and comes from a file.
    KmsKeyId::parse(key_id).map_err(|_error| BackupError::Content("it names no key of a KMS"))?;
    let wrapped = hex::decode(wrapped).map_err(|_error| no_key())?;
    let data = kms_data(&heading.file_id);
    let opened = kms.system_decrypt(key_id, data, wrapped, deadline).await.map_err(|status| {
        BackupError::Place(format!("the KMS does not open its key: {:?}", status.code()))
    })?;
    Ok(FileKey::from_slice(opened.expose()).ok_or_else(no_key)?)
}

/// Opens the content of a file.
///
/// # Errors
/// [`BackupError`].
pub fn open(path: &Path, key: &FileKey) -> Result<ContentReader<File>, BackupError> {
    Ok(ContentReader::new(begin(path)?.open(key)?))
}

/// Reads a backup to its end. Blocks.
///
/// # Errors
/// [`BackupError`].
pub fn verify(path: &Path, key: &FileKey) -> Result<Verified, BackupError> {
    let mut content = open(path, key)?;
    let (mut head, mut end, mut cluster, mut keyring) = (None, None, None, Vec::new());
    let undecoded = |_error| BackupError::Content("a row does not decode");
    while let Some(item) = content.next_item()? {
        match item {
            Item::Head(found) => head = Some(*found),
            Item::End(found) => end = Some(found),
            Item::Rows(Space::Records, rows) => {
                for (row_key, value) in rows {
                    if row_key == keys::CLUSTER {
                        cluster = Some(codec::decode(&value).map_err(undecoded)?);
                    } else if row_key.starts_with(&keys::keyring()) {
                        keyring.push(codec::decode(&value).map_err(undecoded)?);
                    }
                }
            }
            Item::Rows(..) => {}
        }
    }
    let (Some(head), Some(end), Some(cluster)) = (head, end, cluster) else {
        return Err(BackupError::Content("it is not the state of a cluster"));
    };
    Ok(Verified { head, end, cluster, keyring })
}

impl Verified {
    /// Whether the signer is who the keyring in the backup says, which the KMS alone unwraps: who
    /// has made another backup, and sealed it for the same recipients, does not have it.
    ///
    /// # Errors
    /// [`BackupError::Signature`]; [`BackupError::Place`] when the KMS does not unwrap.
    pub async fn check_signer_by_kms(
        &self,
        kms: &KmsClient,
        deadline: Instant,
    ) -> Result<(), BackupError> {
        let signs = |record: &&KeyringKeyRecord| {
            record.purpose == KeyPurpose::SignTokens && record.stage == KeyStage::Activated
        };
        let record = self.keyring.iter().find(signs);
        let record = record.ok_or(BackupError::Signature("its keyring has no key to sign with"))?;
        let scope = self.cluster.keyring_scope();
        let data = associated_data(scope.as_str(), record.id, record.purpose);
        let (system_key, wrapped) = (&self.cluster.system_key_id, record.wrapped.clone());
        let unwrapped = kms.system_decrypt(system_key, data, wrapped, deadline).await;
        let unwrapped = unwrapped.map_err(|status| {
            BackupError::Place(format!("the KMS does not unwrap its keyring: {:?}", status.code()))
        })?;
        let key = SymmetricKey::from_slice(unwrapped.expose());
        let key = key.ok_or(BackupError::Signature("its keyring holds no key"))?;
        let mut ring = KeyRing::default();
        ring.insert(record, key);
        let signer = signer::of(&ring).map(|signer| signer.public_key());
        if signer == Some(self.end.signer) {
            Ok(())
        } else {
            Err(BackupError::Signature("somebody else has signed it"))
        }
    }

    /// Whether this is its signer.
    ///
    /// # Errors
    /// [`BackupError::Signature`].
    pub fn check_signer(&self, signer: &[u8]) -> Result<(), BackupError> {
        if self.end.signer == signer {
            Ok(())
        } else {
            Err(BackupError::Signature("another key has signed it than was named"))
        }
    }
}

//! From plaintext entries to a sealed payload and back, under the common key or an own key.
//!
//! The only place where a payload meets the keyring and the KMS. One data key for each version;
//! an own key costs one KMS operation for each access and is never cached (`design §6`).

use std::sync::Arc;
use std::time::Duration;

use lockbox_core::{KmsKeyId, Mutant, Randomness, SensitiveBytes, mutant};
use lockbox_platform::status::{ApiError, ErrorKind, Outcome};
use lockbox_proto::lockbox::kms::v1::CallerAssertion;
use lockbox_raft::domain::keyring::KeyPurpose;
use lockbox_raft::domain::version::{SealedPayload, WrappedDataKey};
use tokio::time::Instant;

use crate::keyring::{KeyRing, Keyring, Sealed};
use crate::kms::{KeyOrigin, KmsClient, with_kms_index};
use crate::payload::Payload;
use crate::seal::{self, SEAL_FORMAT, SealPlace, SealedMessage, SymmetricKey};

/// When a caller may try again what needs a keyring key that is being unwrapped.
const UNWRAP_RETRY: Duration = Duration::from_millis(500);

/// The own key of a secret and on whose behalf it is used.
pub struct OwnKey<'a> {
    /// The customer's key.
    pub key: &'a KmsKeyId,
    /// Where its id came from.
    pub origin: KeyOrigin,
    /// Who asks; the KMS judges their rights on the key.
    pub assertion: CallerAssertion,
}

/// What the sealer made, and the KMS's commit sequence when it was asked.
pub struct FromSealer<T> {
    /// The sealed or the opened payload.
    pub value: T,
    /// `kms-index` of the answer; passed on to the caller (`design §3`).
    pub kms_index: Option<String>,
}

/// Seals and opens payloads.
#[derive(Clone)]
pub struct Sealer {
    keyring: Keyring,
    kms: KmsClient,
    random: Arc<dyn Randomness>,
}

impl Sealer {
    /// A sealer over the node's keyring and KMS.
    #[must_use]
    pub fn new(keyring: Keyring, kms: KmsClient, random: Arc<dyn Randomness>) -> Self {
        Self { keyring, kms, random }
    }

    /// Seals the entries of a new version.
    ///
    /// # Errors
    /// UNAVAILABLE while the node is sealed; whatever the KMS says of an own key.
    pub async fn seal(
        &self,
        place: &SealPlace<'_>,
        payload: &Payload,
        own_key: Option<OwnKey<'_>>,
        deadline: Instant,
    ) -> Result<FromSealer<SealedPayload>, ApiError> {
        let (data_key, wrapped_key, kms_index) = match own_key {
            None => self.common_data_key(place)?,
            Some(own_key) => self.own_data_key(place, &own_key, deadline).await?,
        };
        let encoded = payload.encode();
        if mutant(Mutant::PlaintextInLog) {
            tracing::debug!(payload = %String::from_utf8_lossy(encoded.expose()), "sealing");
        }
        let message = seal::seal(&data_key, place, &encoded, self.random.as_ref());
        let value = SealedPayload {
            format: SEAL_FORMAT,
            commitment: message.commitment,
            nonce: message.nonce,
            ciphertext: message.ciphertext,
            wrapped_key,
        };
        Ok(FromSealer { value, kms_index })
    }

    /// Opens a version's entries; `assertion` says on whose behalf, where an own key is asked.
    ///
    /// # Errors
    /// UNAVAILABLE while the node is sealed, UNIMPLEMENTED for a format of a later build, DATA_LOSS
    /// when the payload does not open, whatever the KMS says of an own key.
    pub async fn open(
        &self,
        place: &SealPlace<'_>,
        sealed: &SealedPayload,
        assertion: Option<&CallerAssertion>,
        deadline: Instant,
    ) -> Result<FromSealer<Payload>, ApiError> {
        // Before the KMS is asked, and billed, for what this build cannot read anyway.
        known_format(sealed.format)?;
        let (data_key, kms_index) = match &sealed.wrapped_key {
            WrappedDataKey::Keyring { keyring_key_id, salt, ciphertext } => {
                let ring = self.keyring.ring().map_err(sealed_node)?;
                let keyring_key = ring
                    .get(*keyring_key_id, KeyPurpose::WrapDataKeys)
                    .ok_or_else(not_unwrapped)?;
                let data = place.wrap_data(&keyring_name(*keyring_key_id));
                let data_key = seal::unwrap(keyring_key, salt, ciphertext, &data)
                    .map_err(|_| lost("the payload's data key does not open"))?;
                (data_key, None)
            }
            WrappedDataKey::Kms { kms_key_id, ciphertext, .. } => {
                let assertion = assertion
                    .ok_or_else(|| ApiError::internal("no caller for a payload's own key"))?;
                let data = place.wrap_data(kms_key_id.as_str());
                let ciphertext = ciphertext.clone();
                let asking =
                    self.kms.decrypt_data_key(kms_key_id, assertion, data, ciphertext, deadline);
                let opened = self.unless_sealed(asking).await?;
                (data_key(&opened.plaintext, opened.kms_index.as_deref())?, opened.kms_index)
            }
        };
        let message = SealedMessage {
            commitment: sealed.commitment,
            nonce: sealed.nonce,
            ciphertext: sealed.ciphertext.clone(),
        };
        let lost_here = |what: &str| with_kms_index(lost(what), kms_index.as_deref());
        let plaintext = seal::open(&data_key, place, &message)
            .map_err(|_| lost_here("the payload does not open"))?;
        let value =
            Payload::decode(&plaintext).map_err(|_| lost_here("the payload does not decode"))?;
        Ok(FromSealer { value, kms_index })
    }

    /// What the KMS says, unless the node is sealed before it does: nobody waits for it then, and
    /// nothing is opened with it. It may have been billed, as whatever is given up half-way.
    async fn unless_sealed<T>(
        &self,
        asking: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        tokio::select! {
            biased;
            () = self.keyring.sealed() => Err(sealed_node(Sealed)),
            answer = asking => answer,
        }
    }

    fn common_data_key(
        &self,
        place: &SealPlace<'_>,
    ) -> Result<(SymmetricKey, WrappedDataKey, Option<String>), ApiError> {
        let ring: Arc<KeyRing> = self.keyring.ring().map_err(sealed_node)?;
        let (keyring_key_id, keyring_key) =
            ring.active(KeyPurpose::WrapDataKeys).ok_or_else(not_unwrapped)?;
        let data_key = SymmetricKey::generate(self.random.as_ref());
        let data = place.wrap_data(&keyring_name(keyring_key_id));
        let (salt, ciphertext) = seal::wrap(keyring_key, &data_key, &data, self.random.as_ref());
        Ok((data_key, WrappedDataKey::Keyring { keyring_key_id, salt, ciphertext }, None))
    }

    async fn own_data_key(
        &self,
        place: &SealPlace<'_>,
        own_key: &OwnKey<'_>,
        deadline: Instant,
    ) -> Result<(SymmetricKey, WrappedDataKey, Option<String>), ApiError> {
        let data = place.wrap_data(own_key.key.as_str());
        let OwnKey { key, origin, assertion } = own_key;
        let asking = self.kms.generate_data_key(key, *origin, assertion, data, deadline);
        let generated = self.unless_sealed(asking).await?;
        let wrapped_key = WrappedDataKey::Kms {
            kms_key_id: own_key.key.clone(),
            kms_key_version_id: generated.key_version_id,
            ciphertext: generated.ciphertext,
        };
        let data_key = data_key(&generated.plaintext, generated.kms_index.as_deref())?;
        Ok((data_key, wrapped_key, generated.kms_index))
    }
}

/// The wrapping key's name in associated data.
#[must_use]
pub fn keyring_name(id: u32) -> String {
    format!("keyring/{id}")
}

fn data_key(bytes: &SensitiveBytes, kms_index: Option<&str>) -> Result<SymmetricKey, ApiError> {
    SymmetricKey::from_slice(bytes.expose()).ok_or_else(|| {
        with_kms_index(lost("the KMS answered with a data key of another length"), kms_index)
    })
}

/// Refuses what this build cannot read: a later one wrote it, so it is not lost.
fn known_format(format: u8) -> Result<(), ApiError> {
    if format == SEAL_FORMAT {
        return Ok(());
    }
    let message = format!("the payload has format {format}, which this node does not know yet");
    Err(ApiError::unimplemented(message))
}

fn sealed_node(sealed: Sealed) -> ApiError {
    ApiError::unavailable(sealed.to_string())
}

/// A key that the state has and this node has not: it has joined or started while the keyring
/// changed. Retired keys have wrapped nothing, so it is none that is gone.
fn not_unwrapped() -> ApiError {
    let kind = ErrorKind::Unavailable { retry_after: Some(UNWRAP_RETRY) };
    let message = "this node has not unwrapped the keyring's newest key yet";
    ApiError::new(kind, message, Outcome::NotProposed)
}

/// Stored data that fails authentication. Nothing was proposed: the read ends here.
fn lost(message: &str) -> ApiError {
    ApiError::new(ErrorKind::DataLoss, message, Outcome::NotProposed)
}

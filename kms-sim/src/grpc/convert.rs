//! From the wire and to it: the only place where messages and records meet.

use lockbox_core::{FolderId, IdError, KmsKeyId, KmsKeyVersionId, LogTime, OperationId};
use lockbox_proto::any;
use lockbox_proto::yandex::cloud::kms::v1::{
    CreateSymmetricKeyMetadata, RotateSymmetricKeyMetadata, SymmetricAlgorithm, SymmetricKey,
    SymmetricKeyVersion, UpdateSymmetricKeyMetadata, symmetric_key, symmetric_key_version,
};
use lockbox_proto::yandex::cloud::operation::{Operation, operation};
use prost_types::{Duration, Timestamp};

use crate::algorithm::Algorithm;
use crate::error::KmsError;
use crate::store::records::{
    KeyRecord, KeyStatus, OperationKind, OperationRecord, VersionRecord, VersionStatus,
};

/// Reads a key id.
pub(super) fn key_id(field: &'static str, text: &str) -> Result<KmsKeyId, KmsError> {
    KmsKeyId::parse(text).map_err(|error| bad_id(field, &error))
}

/// Reads a version id; none when it is empty.
pub(super) fn version_id(text: &str) -> Result<Option<KmsKeyVersionId>, KmsError> {
    if text.is_empty() {
        return Ok(None);
    }
    KmsKeyVersionId::parse(text).map(Some).map_err(|error| bad_id("version_id", &error))
}

/// Reads a folder id.
pub(super) fn folder_id(text: &str) -> Result<FolderId, KmsError> {
    FolderId::parse(text).map_err(|error| bad_id("folder_id", &error))
}

/// Reads an operation id.
pub(super) fn operation_id(text: &str) -> Result<OperationId, KmsError> {
    OperationId::parse(text).map_err(|error| bad_id("operation_id", &error))
}

fn bad_id(field: &'static str, error: &IdError) -> KmsError {
    KmsError::invalid(field, error.to_string())
}

/// Reads the algorithm of new versions.
pub(super) fn key_algorithm(number: i32) -> Result<Algorithm, KmsError> {
    match SymmetricAlgorithm::try_from(number) {
        Ok(SymmetricAlgorithm::Aes128) => Ok(Algorithm::Aes128),
        Ok(SymmetricAlgorithm::Aes192) => Ok(Algorithm::Aes192),
        Ok(SymmetricAlgorithm::Aes256) => Ok(Algorithm::Aes256),
        Ok(SymmetricAlgorithm::Aes256Hsm) => {
            Err(KmsError::Unimplemented("AES_256_HSM needs a hardware module, there is none here"))
        }
        Ok(SymmetricAlgorithm::GostR34122015K) => {
            Err(KmsError::Unimplemented("GOST_R_3412_2015_K is not supported here"))
        }
        Ok(SymmetricAlgorithm::Unspecified) | Err(_) => {
            Err(KmsError::invalid("default_algorithm", "must be AES_128, AES_192 or AES_256"))
        }
    }
}

/// Reads the size of a data key; unspecified means 256 bits (`contract §13` no. 20).
pub(super) fn data_key_spec(number: i32) -> Result<Algorithm, KmsError> {
    match SymmetricAlgorithm::try_from(number) {
        Ok(SymmetricAlgorithm::Unspecified) => {
            tracing::debug!("data_key_spec is not given: AES_256 is taken");
            Ok(Algorithm::Aes256)
        }
        Ok(SymmetricAlgorithm::Aes128) => Ok(Algorithm::Aes128),
        Ok(SymmetricAlgorithm::Aes192) => Ok(Algorithm::Aes192),
        Ok(SymmetricAlgorithm::Aes256) => Ok(Algorithm::Aes256),
        Ok(SymmetricAlgorithm::Aes256Hsm | SymmetricAlgorithm::GostR34122015K) | Err(_) => {
            Err(KmsError::invalid("data_key_spec", "must be AES_128, AES_192 or AES_256"))
        }
    }
}

/// Reads a status that may be asked for (`contract §3.1`).
pub(super) fn key_status(number: i32) -> Result<KeyStatus, KmsError> {
    match symmetric_key::Status::try_from(number) {
        Ok(symmetric_key::Status::Active) => Ok(KeyStatus::Active),
        Ok(symmetric_key::Status::Inactive) => Ok(KeyStatus::Inactive),
        Ok(symmetric_key::Status::Unspecified | symmetric_key::Status::Creating) | Err(_) => {
            Err(KmsError::invalid("status", "must be ACTIVE or INACTIVE"))
        }
    }
}

/// Reads a rotation period, in milliseconds; unset means none.
pub(super) fn rotation_period_ms(
    period: Option<Duration>,
    min: std::time::Duration,
) -> Result<Option<u64>, KmsError> {
    let Some(period) = period else { return Ok(None) };
    let wrong = || {
        let problem = format!("must be at least {} s", min.as_secs());
        KmsError::invalid("rotation_period", problem)
    };
    let period = std::time::Duration::try_from(period).map_err(|_| wrong())?;
    if period < min || period.is_zero() {
        return Err(wrong());
    }
    u64::try_from(period.as_millis()).map(Some).map_err(|_| wrong())
}

/// A time on the wire.
pub(super) fn timestamp(time: LogTime) -> Timestamp {
    let seconds = i64::try_from(time.as_ms() / 1000).unwrap_or(i64::MAX);
    // The rest is below one second: it fits.
    let nanos = (time.as_ms() % 1000) as i32 * 1_000_000;
    Timestamp { seconds, nanos }
}

/// A key on the wire.
pub(super) fn key(key: &KeyRecord, primary: &VersionRecord) -> SymmetricKey {
    let status = match key.status {
        KeyStatus::Active => symmetric_key::Status::Active,
        KeyStatus::Inactive => symmetric_key::Status::Inactive,
    };
    let period = key.rotation_period_ms.map(|ms| Duration {
        seconds: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
        nanos: (ms % 1000) as i32 * 1_000_000,
    });
    SymmetricKey {
        id: key.id.to_string(),
        folder_id: key.path.folder_id.to_string(),
        created_at: Some(timestamp(key.created_at)),
        name: key.name.clone(),
        description: key.description.clone(),
        labels: key.labels.clone(),
        status: status.into(),
        primary_version: Some(version(primary, true)),
        default_algorithm: algorithm(key.default_algorithm).into(),
        rotated_at: Some(timestamp(key.rotated_at)),
        rotation_period: period,
        deletion_protection: key.deletion_protection,
    }
}

/// A version on the wire.
pub(super) fn version(version: &VersionRecord, primary: bool) -> SymmetricKeyVersion {
    let status = match version.status {
        VersionStatus::Active => symmetric_key_version::Status::Active,
        VersionStatus::ScheduledForDestruction => {
            symmetric_key_version::Status::ScheduledForDestruction
        }
        VersionStatus::Destroyed => symmetric_key_version::Status::Destroyed,
    };
    SymmetricKeyVersion {
        id: version.id.to_string(),
        key_id: version.key_id.to_string(),
        status: status.into(),
        algorithm: algorithm(version.algorithm).into(),
        created_at: Some(timestamp(version.created_at)),
        primary,
        destroy_at: version.destroy_at.map(timestamp),
        hosted_by_hsm: false,
    }
}

/// An operation on the wire, with the types that clients expect (`contract §1.5`).
pub(super) fn operation(record: &OperationRecord) -> Operation {
    let key_id = record.key.id.to_string();
    let (description, metadata) = match record.kind {
        OperationKind::CreateKey => {
            let primary_version_id = record.primary_version.id.to_string();
            let metadata = CreateSymmetricKeyMetadata { key_id, primary_version_id };
            ("Create symmetric key", any::pack(&metadata))
        }
        OperationKind::UpdateKey => {
            ("Update symmetric key", any::pack(&UpdateSymmetricKeyMetadata { key_id }))
        }
        OperationKind::RotateKey => {
            let new_primary_version_id = record.primary_version.id.to_string();
            let metadata = RotateSymmetricKeyMetadata { key_id, new_primary_version_id };
            ("Rotate symmetric key", any::pack(&metadata))
        }
    };
    let response = any::pack(&key(&record.key, &record.primary_version));
    Operation {
        id: record.id.to_string(),
        description: description.to_owned(),
        created_at: Some(timestamp(record.created_at)),
        created_by: record.created_by.id.clone(),
        modified_at: Some(timestamp(record.created_at)),
        done: true,
        metadata: Some(metadata),
        result: Some(operation::Result::Response(response)),
    }
}

fn algorithm(algorithm: Algorithm) -> SymmetricAlgorithm {
    match algorithm {
        Algorithm::Aes128 => SymmetricAlgorithm::Aes128,
        Algorithm::Aes192 => SymmetricAlgorithm::Aes192,
        Algorithm::Aes256 => SymmetricAlgorithm::Aes256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_that_need_a_provider_are_told_from_those_that_do_not_exist() {
        assert_eq!(key_algorithm(3).ok(), Some(Algorithm::Aes256));
        for number in [4, 5] {
            assert!(matches!(key_algorithm(number), Err(KmsError::Unimplemented(_))));
            assert!(matches!(data_key_spec(number), Err(KmsError::Invalid { .. })));
        }
        for number in [0, 6, -1] {
            assert!(matches!(key_algorithm(number), Err(KmsError::Invalid { .. })));
        }
        assert_eq!(data_key_spec(0).ok(), Some(Algorithm::Aes256));
    }

    #[test]
    fn rotation_periods_have_a_shortest_one() {
        let day = std::time::Duration::from_hours(24);
        let period = |seconds| rotation_period_ms(Some(Duration { seconds, nanos: 0 }), day);
        assert_eq!(period(86_400).ok(), Some(Some(86_400_000)));
        assert_eq!(rotation_period_ms(None, day).ok(), Some(None));
        for seconds in [86_399, 0, -1] {
            assert!(period(seconds).is_err(), "{seconds}");
        }
    }
}

//! From the wire and to it: the only place where messages and records meet.

use lockbox_core::{FolderId, IdError, KmsKeyId, KmsKeyVersionId, LogTime, OperationId};
use lockbox_proto::yandex::cloud::kms::v1::{
    SymmetricAlgorithm, SymmetricKey, SymmetricKeyVersion, symmetric_key, symmetric_key_version,
};
use prost_types::{Duration, Timestamp};

use crate::algorithm::Algorithm;
use crate::config::PENDING_DEFAULT;
use crate::error::KmsError;
use crate::keys::command::VersionOf;
use crate::store::records::{KeyRecord, KeyStatus, VersionRecord, VersionStatus};

/// The longest time that may be asked for (`contract §13` no. 2).
const PENDING_MAX: std::time::Duration = std::time::Duration::from_hours(365 * 24);

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

/// Reads the ids of a version and of its key.
pub(super) fn version_of(key: &str, version: &str) -> Result<VersionOf, KmsError> {
    Ok(VersionOf {
        key_id: key_id("key_id", key)?,
        version_id: KmsKeyVersionId::parse(version).map_err(|e| bad_id("version_id", &e))?,
    })
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
    let period = not_negative(&period).ok_or_else(wrong)?;
    if period < min || period.is_zero() {
        return Err(wrong());
    }
    u64::try_from(period.as_millis()).map(Some).map_err(|_| wrong())
}

/// Reads the time until a version is destroyed; unset means 7 days.
pub(super) fn pending_period(
    period: Option<&Duration>,
    min: std::time::Duration,
) -> Result<std::time::Duration, KmsError> {
    let wrong = |problem: String| KmsError::invalid("pending_period", problem);
    let pending = match period {
        None => PENDING_DEFAULT,
        Some(period) => not_negative(period)
            .ok_or_else(|| wrong("must be a duration that is not negative".to_owned()))?,
    };
    if pending.is_zero() {
        return Err(wrong("must be positive".to_owned()));
    }
    if pending < min {
        return Err(wrong(format!("must be at least {} s", min.as_secs())));
    }
    if pending > PENDING_MAX {
        return Err(wrong(format!("must be at most {} s", PENDING_MAX.as_secs())));
    }
    // The store counts milliseconds: none is cut down to nothing.
    let ms = pending.as_nanos().div_ceil(1_000_000);
    let ms = u64::try_from(ms).map_err(|error| wrong(error.to_string()))?;
    Ok(std::time::Duration::from_millis(ms))
}

/// By hand: the conversion of prost negates what it was sent, and -2^63 has no opposite.
fn not_negative(period: &Duration) -> Option<std::time::Duration> {
    match (u64::try_from(period.seconds), u32::try_from(period.nanos)) {
        (Ok(seconds), Ok(nanos @ 0..=999_999_999)) => {
            Some(std::time::Duration::new(seconds, nanos))
        }
        _ => None,
    }
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
        for seconds in [86_399, 0, -1, i64::MIN] {
            assert!(period(seconds).is_err(), "{seconds}");
        }
    }

    #[test]
    fn pending_periods_are_positive_and_within_their_bounds() {
        let day = std::time::Duration::from_hours(24);
        let ms = |seconds, nanos, min| {
            let period = pending_period(Some(&Duration { seconds, nanos }), min).ok()?;
            Some(period.as_millis())
        };
        assert_eq!(pending_period(None, day).ok(), Some(7 * day));
        assert_eq!(ms(86_400, 0, day), Some(86_400_000));
        assert_eq!(ms(86_399, 999_999_999, day), None);
        assert_eq!(ms(365 * 86_400, 0, day), Some(31_536_000_000));
        assert_eq!(ms(365 * 86_400, 1, day), None);
        let none = std::time::Duration::ZERO;
        assert_eq!(ms(0, 1, none), Some(1));
        for (seconds, nanos) in [(0, 0), (-1, 0), (0, -1), (0, 1_000_000_000), (i64::MIN, 0)] {
            assert_eq!(ms(seconds, nanos, none), None, "{seconds} {nanos}");
        }
    }
}

//! Scheduled destruction of a version, and calling it off (`contract §2.3`).

use std::time::Duration;

use lockbox_core::{Permission, SecretId, VersionId};
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::{SecretDetails, VersionDestructionDetails};
use lockbox_platform::status::ApiError;
use lockbox_proto::validate::Validate;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::operation::Operation;
use lockbox_raft::domain::command::Command;
use lockbox_raft::domain::operation::{OperationRecord, OperationResult};
use lockbox_raft::domain::secret::SecretRecord;
use prost::Message;

use super::change::look_up;
use super::parse_secret_id;
use crate::call::Call;
use crate::{convert, describe, idempotency};

/// Without another one in the request (`contract §2.3`).
const PENDING_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest one that is accepted (`contract §13` no. 2).
const PENDING_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The audit details as far as the request names them.
pub(super) fn event(secret_id: &str, version_id: &str) -> VersionDestructionDetails {
    let mut secret = describe::secret_id(secret_id);
    secret.secret_version_id = describe::named_id(version_id);
    VersionDestructionDetails { secret, destroy_at: None }
}

pub(super) async fn schedule(
    call: &mut Call<'_>,
    request: &wire::ScheduleVersionDestructionRequest,
) -> Result<Operation, ApiError> {
    let limits = &call.app.config.limits;
    let (min, retained_ms) = (limits.destruction_pending_min(), limits.destroyed_retained_ms());
    let command = |secret_id, version_id| {
        let pending_ms = pending_ms(request.pending_period.as_ref(), min)?;
        Ok(Command::ScheduleVersionDestruction { secret_id, version_id, pending_ms, retained_ms })
    };
    change(call, request, (&request.secret_id, &request.version_id), command).await
}

pub(super) async fn cancel(
    call: &mut Call<'_>,
    request: &wire::CancelVersionDestructionRequest,
) -> Result<Operation, ApiError> {
    let command =
        |secret_id, version_id| Ok(Command::CancelVersionDestruction { secret_id, version_id });
    change(call, request, (&request.secret_id, &request.version_id), command).await
}

async fn change(
    call: &mut Call<'_>,
    request: &(impl Validate + Message),
    (secret_id, version_id): (&str, &str),
    command: impl FnOnce(SecretId, VersionId) -> Result<Command, ApiError>,
) -> Result<Operation, ApiError> {
    let caller = call.admit(request)?;
    let claim = idempotency::claim(&call.context, &caller, &call.app.keyring, request)?;
    let secret_id = parse_secret_id(secret_id)?;
    let version_id = VersionId::parse(version_id)
        .map_err(|error| ApiError::invalid("version_id", error.to_string()))?;
    let command = command(secret_id.clone(), version_id)?;
    if let Some(operation) = call.recall(&caller, claim.as_ref()).await? {
        return Ok(convert::operation(&operation));
    }
    let secret = look_up(call, &caller, &secret_id, Permission::VersionsDestroy).await?;
    let operation = call.propose(&caller, claim, command).await?;
    note(call, &operation, &secret);
    Ok(convert::operation(&operation))
}

/// Fills the audit details with the version that the operation answered with, and its secret.
fn note(call: &mut Call<'_>, operation: &OperationRecord, secret: &SecretRecord) {
    let OperationResult::Version(version) = &operation.result else { return };
    let (AuditDetails::ScheduleVersionDestruction(details)
    | AuditDetails::CancelVersionDestruction(details)) = &mut call.details
    else {
        return;
    };
    details.secret = SecretDetails {
        secret_version_id: version.id.to_string(),
        version: describe::version(version),
        ..describe::secret_of_version(secret)
    };
    details.destroy_at = version.destroy_at.map(Into::into);
}

/// The pending period in whole milliseconds, rounded up: none is cut down to nothing.
fn pending_ms(period: Option<&prost_types::Duration>, min: Duration) -> Result<u64, ApiError> {
    let wrong = |what: String| ApiError::invalid("pending_period", what);
    let pending = match period {
        None => PENDING_DEFAULT,
        // By hand: the conversion of prost negates what it was sent, and -2^63 has no opposite.
        Some(period) => match (u64::try_from(period.seconds), u32::try_from(period.nanos)) {
            (Ok(seconds), Ok(nanos @ 0..=999_999_999)) => Duration::new(seconds, nanos),
            _ => return Err(wrong("must be a duration that is not negative".to_owned())),
        },
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
    u64::try_from(pending.as_nanos().div_ceil(1_000_000)).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn ms(seconds: i64, nanos: i32, min: Duration) -> Option<u64> {
        pending_ms(Some(&prost_types::Duration { seconds, nanos }), min).ok()
    }

    #[test]
    fn a_period_is_positive_and_within_its_bounds() {
        assert_eq!(pending_ms(None, Duration::ZERO).ok(), Some(604_800_000));
        assert_eq!(ms(0, 0, Duration::ZERO), None);
        assert_eq!(ms(-1, 0, Duration::ZERO), None);
        assert_eq!(ms(0, -1, Duration::ZERO), None);
        assert_eq!(ms(0, 1, Duration::ZERO), Some(1));
        assert_eq!(ms(2, 500_000_001, Duration::ZERO), Some(2501));
        assert_eq!(ms(3599, 999_999_999, HOUR), None);
        assert_eq!(ms(3600, 0, HOUR), Some(3_600_000));
        assert_eq!(ms(365 * 86_400, 0, HOUR), Some(31_536_000_000));
        assert_eq!(ms(365 * 86_400, 1, HOUR), None);
        assert_eq!(ms(i64::MAX, 999_999_999, HOUR), None);
        assert_eq!(ms(i64::MIN, 0, HOUR), None);
    }
}

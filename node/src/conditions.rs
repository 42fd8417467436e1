//! Conditions on a binding, on the wire (`docs/access.md`).
//!
//! Our own messages have fields for them. The cloud's have none, so there they are noted behind the
//! role id: `lockbox.payloadViewer;until=2026-12-01T00:00:00Z;current`. A binding with conditions
//! never shows as one without, and what was listed can be set again and means the same.

use lockbox_core::{LogTime, Subject};
use lockbox_proto::lockbox::iam::v1 as own;
use lockbox_raft::domain::{AccessBinding, Versions};
use prost_types::Timestamp;

use crate::convert;

/// What parts conditions from the role id, and from each other. No role id has one.
pub const MARK: char = ';';
const UNTIL: &str = "until=";
const CURRENT: &str = "current";
/// The last second that an end may lie in, as in our own messages: that of the year 2105.
const LAST_END_S: i64 = 4_291_747_199;

/// The role id of a binding with its conditions behind it.
#[must_use]
pub fn noted(binding: &AccessBinding) -> String {
    note(&binding.role_id, to_own(binding).as_ref())
}

/// A role id with these conditions behind it.
#[must_use]
pub fn note(role_id: &str, conditions: Option<&own::Conditions>) -> String {
    let mut text = role_id.to_owned();
    let Some(own::Conditions { not_after, only_current_version }) = conditions else {
        return text;
    };
    if let Some(end) = not_after {
        text += &format!("{MARK}{UNTIL}{end}");
    }
    if *only_current_version {
        text += &format!("{MARK}{CURRENT}");
    }
    text
}

/// Reads what [`noted`] writes.
///
/// # Errors
/// What is wrong with it, in words.
pub fn read(noted: &str, subject: Subject) -> Result<AccessBinding, &'static str> {
    let mut parts = noted.split(MARK);
    let mut binding = AccessBinding::new(parts.next().unwrap_or_default(), subject);
    for part in parts {
        match part.strip_prefix(UNTIL) {
            Some(end) if binding.not_after.is_none() => {
                let end: Timestamp = end.parse().map_err(|_| "ends at what is no time")?;
                binding.not_after = Some(log_time(&end).ok_or("ends at no time of ours")?);
            }
            None if part == CURRENT && binding.versions.is_none() => {
                binding.versions = Some(Versions::Current);
            }
            _ => return Err("has a condition twice, or one that is unknown"),
        }
    }
    Ok(binding)
}

/// An end; what is finer than the log's clock is cut off, so that nothing ends too late.
fn log_time(end: &Timestamp) -> Option<LogTime> {
    convert::log_time(end).filter(|_| end.seconds <= LAST_END_S)
}

/// The conditions of a binding in our own messages; absent when it has none.
#[must_use]
pub fn to_own(binding: &AccessBinding) -> Option<own::Conditions> {
    let conditions = own::Conditions {
        not_after: binding.not_after.map(convert::timestamp),
        only_current_version: binding.only_current_version(),
    };
    (!binding.is_unconditional()).then_some(conditions)
}

/// The binding with the conditions of one of our own messages.
///
/// # Errors
/// That its end is no point of the log's clock.
pub fn from_own(
    binding: AccessBinding,
    conditions: Option<own::Conditions>,
) -> Result<AccessBinding, &'static str> {
    let own::Conditions { not_after, only_current_version } = conditions.unwrap_or_default();
    let not_after = match &not_after {
        Some(end) => Some(log_time(end).ok_or("is outside the range of times")?),
        None => None,
    };
    let versions = only_current_version.then_some(Versions::Current);
    Ok(AccessBinding { not_after, versions, ..binding })
}

#[cfg(test)]
mod tests {
    use lockbox_core::{Role, SubjectKind};

    use super::*;

    fn subject() -> Subject {
        Subject { kind: SubjectKind::ServiceAccount, id: "aje1".into() }
    }

    fn bound(role: &str, end_ms: Option<u64>, versions: Option<Versions>) -> AccessBinding {
        let not_after = end_ms.map(LogTime::from_ms);
        AccessBinding { not_after, versions, ..AccessBinding::new(role, subject()) }
    }

    #[test]
    fn what_is_noted_is_read_back_and_fits_into_a_role_id() {
        let last_ms = u64::try_from(LAST_END_S).unwrap() * 1000 + 999;
        for role in Role::ALL.iter().map(|role| role.as_str()) {
            for end in [None, Some(0), Some(1_764_547_200_000), Some(last_ms)] {
                for versions in [None, Some(Versions::Current)] {
                    let versions = versions.filter(|_| role == "lockbox.payloadViewer");
                    let binding = bound(role, end, versions);
                    let text = noted(&binding);
                    assert!(text.len() <= 64, "{text}");
                    assert_eq!(read(&text, subject()), Ok(binding.clone()), "{text}");
                    let own = from_own(AccessBinding::new(role, subject()), to_own(&binding));
                    assert_eq!(own, Ok(binding));
                }
            }
        }
        let both = bound("lockbox.payloadViewer", Some(1_764_547_200_001), Some(Versions::Current));
        assert_eq!(noted(&both), "lockbox.payloadViewer;until=2025-12-01T00:00:00.001Z;current");
        assert_eq!(noted(&bound("viewer", None, None)), "viewer");
    }

    #[test]
    fn times_are_read_as_people_write_them_and_nonsense_is_refused() {
        for text in ["2025-12-01", "2025-12-01T03:00:00+03:00", "2025-12-01t00:00:00.0009999z"] {
            let read = read(&format!("viewer;until={text}"), subject());
            assert_eq!(read, Ok(bound("viewer", Some(1_764_547_200_000), None)), "{text}");
        }
        for wrong in [
            "viewer;",
            "viewer;now",
            "viewer;current;current",
            "viewer;until=",
            "viewer;until=tomorrow",
            "viewer;until=1969-12-31",
            "viewer;until=2106-01-01",
            "viewer;until=2025-12-01;until=2025-12-02",
            "viewer; current",
        ] {
            assert!(read(wrong, subject()).is_err(), "{wrong}");
        }
    }
}

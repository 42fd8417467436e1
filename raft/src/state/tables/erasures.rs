//! What was destroyed, by the order of it.

use lockbox_core::LogTime;

use super::{Found, load, version};
use crate::domain::erasure::{ERASURES_KEPT, Erasure, ErasurePoint};
use crate::domain::payload_mark::PayloadMarks;
use crate::error::StorageError;
use crate::state::{Space, StateRead, keys};

/// How many erasures there were, and the last.
///
/// # Errors
/// [`StorageError`].
pub fn erasures(view: &dyn StateRead) -> Result<ErasurePoint, StorageError> {
    Ok(load(view, Space::System, keys::SYSTEM_ERASURES)?.unwrap_or_default())
}

/// The erasures behind the first `done`, up to `point`, which is this view's; nothing when there
/// are more of them than are kept.
///
/// # Errors
/// [`StorageError`]; a ring that does not hold what its point says is corruption.
pub fn erasures_after(view: &dyn StateRead, done: u64, point: ErasurePoint) -> Found<Vec<Erasure>> {
    if point.count.saturating_sub(done) > ERASURES_KEPT {
        return Ok(None);
    }
    let erasures = (done.saturating_add(1)..=point.count).map(|number| {
        let found: Option<Erasure> = load(view, Space::System, &keys::erasure(number))?;
        found.filter(|erasure| erasure.number == number).ok_or_else(|| {
            StorageError::corrupt("read the state", format!("erasure {number} is missing"))
        })
    });
    erasures.collect::<Result<_, _>>().map(Some)
}

/// When the first erasure behind the first `done` was, or the first one that is kept of them;
/// nothing when there is none. `point` is this view's.
///
/// # Errors
/// [`StorageError`].
pub fn erasing_since(view: &dyn StateRead, done: u64, point: ErasurePoint) -> Found<LogTime> {
    let first = done.max(point.count.saturating_sub(ERASURES_KEPT)).saturating_add(1);
    if first > point.count {
        return Ok(None);
    }
    let found: Option<Erasure> = load(view, Space::System, &keys::erasure(first))?;
    Ok(found.map(|erasure| erasure.at))
}

/// By which bytes what was erased is found in files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErasedMarks {
    /// As far as that is known.
    pub known: Vec<PayloadMarks>,
    /// Erasures of which nothing is known: of a secret that was deleted, of a version that is
    /// forgotten by now, and those that are more than are kept.
    pub unknown: u64,
}

/// By which bytes what was erased behind the first `done` is found; `point` is this view's.
///
/// # Errors
/// [`StorageError`].
pub fn erased_marks(
    view: &dyn StateRead,
    done: u64,
    point: ErasurePoint,
) -> Result<ErasedMarks, StorageError> {
    let kept = done.max(point.count.saturating_sub(ERASURES_KEPT));
    let mut marks = ErasedMarks { known: Vec::new(), unknown: kept.saturating_sub(done) };
    for erasure in erasures_after(view, kept, point)?.unwrap_or_default() {
        let of = keys::payload_of(&erasure.from);
        let version = of.map_or(Ok(None), |(secret, id)| version(view, &secret, &id))?;
        match version.and_then(|version| version.payload_marks) {
            Some(found) => marks.known.push(found),
            None => marks.unknown += 1,
        }
    }
    Ok(marks)
}

//! What a trial comes to: it holds, somebody read on, or too little was seen to say.
//!
//! Promises that the second is told apart from the third: whoever shows that a seeded bug is seen
//! must not be satisfied by a trial that went wrong.

use anyhow::{Result, bail, ensure};
use thiserror::Error;

use super::kind::Kind;
use super::verdict::Switched;

/// Reads that have to be told no when every kind is tried, unless somebody wants others.
const READS_OF_ALL: u64 = 1_000;

/// It does not hold.
#[derive(Debug, Error)]
#[error("{0} reads that began after an acknowledgement succeeded")]
pub struct LateReads(pub u64);

/// What a trial has to have seen.
pub(super) struct Wanted {
    /// Reads that begin in a second on each node.
    pub(super) rate_min: usize,
    /// Reads of the windows that were told no.
    pub(super) reads: u64,
    /// Of programs with a seeded bug: what it shows after. Late reads after anything else are not
    /// what it was seeded for.
    pub(super) late_after: Option<Kind>,
}

/// How many reads have to be told no when so many kinds are tried: each its share.
pub(super) fn reads_of(kinds: usize) -> u64 {
    let (kinds, all) = (kinds as u64, Kind::ALL.len() as u64);
    (READS_OF_ALL * kinds).div_ceil(all)
}

/// Judges a trial of these kinds.
///
/// # Errors
/// [`LateReads`] when a read succeeded that must not; any other error says that nothing is known.
pub(super) fn judge(switched: &Switched, kinds: &[Kind], wanted: &Wanted) -> Result<()> {
    let late = match wanted.late_after {
        Some(kind) => switched.successes_after(kind),
        None => switched.successes(),
    };
    if late > 0 {
        return Err(LateReads(late).into());
    }
    if let Some(kind) = wanted.late_after {
        bail!("no read succeeded after {}: the seeded bug was not seen", kind.name());
    }
    let slowest = switched.slowest_per_second();
    let enough = slowest >= wanted.rate_min as f64;
    ensure!(enough, "only {slowest:.0} reads in a second began on one of the nodes");
    // One that failed for another reason, such as a node that was busy, says nothing of the right.
    let (denied, reads) = (switched.denied_in_windows(), wanted.reads);
    ensure!(denied >= reads, "only {denied} of {reads} reads of the windows were told no");
    for kind in kinds {
        ensure!(switched.has_denied(*kind), "nobody was told no after {}", kind.name());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;
    use tonic::Code;

    use super::super::readers::Read;
    use super::super::verdict::Toggle;
    use super::*;

    const DENIED: Result<(), Code> = Err(Code::PermissionDenied);

    /// A second of a node, and what became of its reads right after the acknowledgement.
    fn switched(kind: Kind, ended: &[Result<(), Code>]) -> Switched {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut switched = Switched::new("", Duration::from_millis(50), 1);
        let reads = ended.iter().map(|ended| Read { node: 0, began: at(910), ended: *ended });
        let (asked, acknowledged, closed) = (at(800), at(900), at(1_000));
        switched.add(kind, &Toggle { began, asked, acknowledged, closed, reads: reads.collect() });
        switched
    }

    fn wanted(late_after: Option<Kind>) -> Wanted {
        Wanted { rate_min: 2, reads: 2, late_after }
    }

    /// Whether it does not hold; nothing when that is not known.
    fn is_late(ended: &[Result<(), Code>], late_after: Option<Kind>) -> Option<bool> {
        let kind = Kind::KeyDisabled;
        match judge(&switched(kind, ended), &[kind], &wanted(late_after)) {
            Ok(()) => Some(false),
            Err(error) => error.is::<LateReads>().then_some(true),
        }
    }

    #[test]
    fn only_a_late_read_says_that_it_does_not_hold() {
        assert_eq!(is_late(&[DENIED, DENIED], None), Some(false));
        assert_eq!(is_late(&[DENIED, Ok(())], None), Some(true));
        assert_eq!(is_late(&[DENIED], None), None, "too few began");
        assert_eq!(is_late(&[DENIED, Err(Code::Unavailable)], None), None, "too few were told no");
    }

    #[test]
    fn a_seeded_bug_is_seen_where_it_is_expected_or_not_at_all() {
        let (expected, other) = (Some(Kind::KeyDisabled), Some(Kind::TokenRevoked));
        assert_eq!(is_late(&[Ok(())], expected), Some(true));
        assert_eq!(is_late(&[Ok(())], other), None);
        assert_eq!(is_late(&[DENIED, DENIED], expected), None);
    }

    #[test]
    fn some_kinds_need_their_share_of_the_reads() {
        assert_eq!((reads_of(Kind::ALL.len()), reads_of(1)), (1_000, 112));
    }
}

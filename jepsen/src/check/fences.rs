//! Real-time fences: what closed something before a read began, unless something may have opened
//! it again.
//!
//! Looks at acknowledgements alone and never at an index, so a server that lies about its index
//! is caught all the same (laws L6 and L7).

use crate::history::ids::OpId;
use crate::history::joined::Joined;
use crate::history::op::Op;

/// A stretch of real time: from the beginning of an operation to when it certainly had happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The operation.
    pub op: OpId,
    /// Order of its beginning.
    pub from: u64,
    /// Order of its end; the end of time for one that may still happen.
    pub to: u64,
}

impl From<&Op> for Span {
    fn from(op: &Op) -> Self {
        Self { op: op.id, from: op.invoked.order, to: op.ended() }
    }
}

/// Repeats under one idempotency key have one effect: it may have happened since the first of them
/// began, and had happened when the first of them was acknowledged.
impl From<&Joined<'_>> for Span {
    fn from(joined: &Joined<'_>) -> Self {
        let acknowledged = joined.ops.iter().filter(|op| op.success().is_some());
        let acknowledged = acknowledged.min_by_key(|op| op.ended());
        let first = joined.first();
        Self {
            op: acknowledged.map_or(first.id, |op| op.id),
            from: first.invoked.order,
            to: acknowledged.map_or(u64::MAX, |op| op.ended()),
        }
    }
}

/// The operations of one kind that open or close something.
#[derive(Debug, Clone, Default)]
pub struct Fence {
    /// Acknowledged closings in the order of their ends, each with the latest beginning of it
    /// and of those before it.
    closed: Vec<(u64, Span)>,
    /// Possible openings in the order of their beginnings, each with the latest end of it and of
    /// those before it.
    opened: Vec<(u64, Span)>,
}

impl Fence {
    /// Makes a fence of closings that were acknowledged and openings that may have happened.
    #[must_use]
    pub fn new(mut closings: Vec<Span>, mut openings: Vec<Span>) -> Self {
        closings.sort_by_key(|span| span.to);
        openings.sort_by_key(|span| span.from);
        let mut closed = Vec::with_capacity(closings.len());
        let mut latest: Option<Span> = None;
        for span in closings {
            let kept = latest.filter(|known| known.from >= span.from).unwrap_or(span);
            latest = Some(kept);
            closed.push((span.to, kept));
        }
        let mut opened = Vec::with_capacity(openings.len());
        let mut latest: Option<Span> = None;
        for span in openings {
            let kept = latest.filter(|known| known.to >= span.to).unwrap_or(span);
            latest = Some(kept);
            opened.push((span.from, kept));
        }
        Self { closed, opened }
    }

    /// The closing that had been acknowledged before `read` began and that no opening can have
    /// undone before it ended. Whatever is between: the latest closing leaves the fewest
    /// openings, so it alone has to be looked at.
    #[must_use]
    pub fn closed_before(&self, read: Span) -> Option<OpId> {
        let count = self.closed.partition_point(|(to, _)| *to < read.from);
        let closing = self.closed[..count].last()?.1;
        let count = self.opened.partition_point(|(from, _)| *from < read.to);
        let reopened =
            self.opened[..count].last().is_some_and(|(_, opening)| opening.to > closing.from);
        (!reopened).then_some(closing.op)
    }

    /// Whether any opening can have happened before `read` ended.
    #[must_use]
    pub fn may_have_opened(&self, read: Span) -> bool {
        self.opened.first().is_some_and(|(from, _)| *from < read.to)
    }
}

//! The end of the ledger, which nothing in the store anchors: what the audit beside it tells.
//!
//! The end of the database's log cannot be told from a write that a power loss has torn. Cut there,
//! the newest records go together with their counters and with the head that names them, and what
//! is left agrees with itself. But each crypto call is on disk in the ledger before its record goes
//! to the audit, and that before its answer: so every record of the ledger that the audit names has
//! to be there, with the chain value that it had. A store that was restored has missed the commits
//! behind its backup, and says which: those are counted apart.

use std::io;

use lockbox_platform::audit::tail::Tail;
use lockbox_platform::audit::{AuditFiles, LineRead, Walk};
use serde::Deserialize;

use super::record::CHAIN_BYTES;
use super::verify::Problem;
use crate::store::identity::{RestoreMark, Restores};
use crate::store::tables::{self, Table};
use crate::store::{StoreError, View};

/// Calls that are missing and are told one by one.
const MISSING_MAX: u64 = 1000;
/// Problems of the audit itself that are told beside them.
const PROBLEMS_MAX: usize = 2000;
/// Lines at the end of the audit that a start looks at: as many as calls can be under way, for their
/// records may come in any order.
const LATEST_LINES: usize = 8192;
/// Lines at the end that may be no records: a crash has torn them.
const TORN_LINES_MAX: usize = 100;

/// Why the ledger cannot be compared with the audit.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit cannot be read.
    #[error("cannot read the audit: {0}")]
    Audit(#[from] io::Error),
}

/// What the audit says of the ledger.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Audited {
    /// Calls of the audit that name their record of the ledger.
    pub calls: u64,
    /// Those whose record is not there.
    pub missing: u64,
    /// Those whose record went with the store that a backup took the place of.
    pub restored: u64,
    /// The same, as problems, the first ones of many; and what shows that the audit is not as it was
    /// written.
    pub problems: Vec<Problem>,
    /// Records of the ledger behind the last one that the audit names.
    pub unnamed: u64,
    /// The last one that it names.
    named: Option<u64>,
    /// The restores that the store has behind it.
    restores: Restores,
    /// The last commit of the backup, of a store that has not caught up with its own time.
    backed_up: Option<u64>,
}

/// A line of the audit, as far as it matters here.
#[derive(Deserialize)]
struct Line {
    sequence: u64,
    #[serde(default)]
    details: Details,
}

#[derive(Deserialize, Default)]
struct Details {
    ledger: Option<Place>,
}

/// A record of the ledger, as the audit names it.
#[derive(Deserialize)]
struct Place {
    sequence: u64,
    /// Chain value, in hexadecimal.
    chain: String,
}

/// How far an audit went when it was looked at.
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// The number of the last record; nothing before the first.
    last: Option<u64>,
}

/// How far an audit goes; nothing when there is none.
///
/// ORDER: before the store is opened. What a server adds afterwards may be of calls that the opened
/// state does not have.
///
/// # Errors
/// When the audit cannot be read.
pub fn end(files: &AuditFiles) -> io::Result<Option<End>> {
    match files.exist() {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let (lines, _) = Tail::begin(files, TORN_LINES_MAX)?;
    // The highest: the very last may be the one that was changed.
    let last = lines.iter().filter_map(|line| parse(line)).map(|line| line.sequence).max();
    Ok(Some(End { last }))
}

/// Compares the ledger with an audit up to this end.
///
/// # Errors
/// [`CompareError`]; what is missing is reported in the result.
pub fn compare(view: &View<'_>, files: &AuditFiles, end: End) -> Result<Audited, CompareError> {
    let mut audited = Audited::of(view)?;
    let mut walk = Walk::new(files);
    let (mut line, mut before) = (Vec::new(), None);
    while let Some(mut file) = walk.next_file()? {
        while file.read_line(&mut line)? == LineRead::Whole {
            match parse(&line) {
                Some(read) => {
                    let follows = before
                        .is_none_or(|before: u64| before.checked_add(1) == Some(read.sequence));
                    // Of a later call; but a number alone, which somebody may have changed, does not
                    // end the comparison.
                    let is_placed = before.is_some() || end.last.is_none();
                    if follows && is_placed && Some(read.sequence) > end.last {
                        return audited.ended(view);
                    }
                    if !follows {
                        audited.tell(Problem::AuditJump {
                            from: before.unwrap_or_default(),
                            to: read.sequence,
                        });
                    }
                    // One jump, and not two, of a number that was changed.
                    before = if follows {
                        Some(read.sequence)
                    } else {
                        before.map(|before| before.saturating_add(1))
                    };
                    audited.look(view, read)?;
                }
                None => {
                    audited
                        .problems
                        .push(Problem::AuditUnreadable { after: before.unwrap_or_default() });
                    before = before.map(|before| before.saturating_add(1));
                }
            }
            line.clear();
        }
        line.clear();
    }
    audited.ended(view)
}

/// Compares the ledger with the last lines of an audit that nobody writes to.
///
/// # Errors
/// [`CompareError`].
pub(crate) fn compare_latest(view: &View<'_>, files: &AuditFiles) -> Result<Audited, CompareError> {
    let (lines, _) = Tail::begin(files, LATEST_LINES)?;
    let mut audited = Audited::of(view)?;
    for line in lines.iter().filter_map(|line| parse(line)) {
        audited.look(view, line)?;
    }
    audited.ended(view)
}

impl Audited {
    /// One of the first problems of many; the first says enough of an audit that is not whole.
    fn tell(&mut self, problem: Problem) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    /// Nothing yet, of this store.
    fn of(view: &View<'_>) -> Result<Self, StoreError> {
        let backed_up = RestoreMark::read(view)?.map(|mark| mark.head);
        Ok(Self { restores: Restores::read(view)?, backed_up, ..Self::default() })
    }

    fn look(&mut self, view: &View<'_>, line: Line) -> Result<(), StoreError> {
        let Some(place) = line.details.ledger else { return Ok(()) };
        self.calls += 1;
        self.named = self.named.max(Some(place.sequence));
        if holds(view, &place)? {
            return Ok(());
        }
        let behind_backup = self.backed_up.is_some_and(|head| head < place.sequence);
        if behind_backup || self.restores.missed(place.sequence) {
            self.restored += 1;
            return Ok(());
        }
        self.missing += 1;
        if self.missing <= MISSING_MAX {
            let (sequence, audit) = (place.sequence, line.sequence);
            self.problems.push(Problem::Missing { sequence, audit });
        }
        Ok(())
    }

    fn ended(mut self, view: &View<'_>) -> Result<Self, CompareError> {
        if let Some(more) = self.missing.checked_sub(MISSING_MAX).filter(|more| *more > 0) {
            self.problems.push(Problem::MoreMissing { more });
        }
        let behind = self.named.map_or(0, |named| named.saturating_add(1));
        for row in view.scan(Table::Ledger, b"", &tables::ledger(behind)) {
            row?;
            self.unnamed += 1;
        }
        Ok(self)
    }
}

fn parse(line: &[u8]) -> Option<Line> {
    serde_json::from_slice(line).ok()
}

/// Whether the record is there. That it hangs on those before it, the walk along the chain says.
fn holds(view: &View<'_>, place: &Place) -> Result<bool, StoreError> {
    let record = view.get(Table::Ledger, &tables::ledger(place.sequence))?;
    let chain = record.as_ref().and_then(|record| record.last_chunk::<CHAIN_BYTES>());
    Ok(chain.is_some_and(|chain| hex::encode(chain) == place.chain))
}

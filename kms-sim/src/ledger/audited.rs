//! The end of the ledger, which nothing in the store anchors: what the audit beside it tells.
//!
//! The end of the database's log cannot be told from a write that a power loss has torn. Cut there,
//! the newest records go together with their counters and with the head that names them, and what
//! is left agrees with itself. But each crypto call is on disk in the ledger before its record goes
//! to the audit, and that before its answer: so every record of the ledger that the audit names has
//! to be there, with the chain value that it had. A store that was restored has missed the commits
//! behind its backup, and says which: those are counted apart.

use std::io;
use std::path::PathBuf;

use lockbox_platform::audit::tail::Tail;
use lockbox_platform::audit::{AuditFiles, Extent, ExtentFile, LineRead, WalkedFile};
use serde::Deserialize;

use super::numbering::Numbering;
use super::record::CHAIN_BYTES;
use super::verify::Problem;
use crate::store::identity::{RestoreMark, Restores};
use crate::store::tables::{self, Table};
use crate::store::{StoreError, View};

/// Calls that are missing and are told one by one.
const MISSING_MAX: u64 = 1000;
/// Lines of the audit itself that are told one by one, likewise.
const WRONG_LINES_MAX: u64 = 1000;
/// Lines at the end of the audit that a start looks at: as many as calls can be under way, for their
/// records may come in any order.
const LATEST_LINES: usize = 8192;

/// Why the ledger cannot be compared with the audit.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit cannot be read, for no reason that lies in it.
    #[error("cannot read the audit, {path}: {source}", path = .path.display())]
    Audit {
        /// The file, or the one that is written to.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
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
    /// The first file that this process may not read, which says nothing of the audit, and why.
    pub unread: Option<String>,
    /// The last one that it names.
    named: Option<u64>,
    /// The restores that the store has behind it.
    restores: Restores,
    /// The last commit of the backup, of a store that has not caught up with its own time.
    backed_up: Option<u64>,
    /// Lines that are not as they were written.
    wrong_lines: u64,
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

/// Compares the ledger with an audit as far as it went at a moment.
///
/// ORDER: the extent is of a time before the store was opened. What a server adds afterwards may be
/// of calls that the opened state does not have. Nothing that the audit says decides how far it is
/// read: somebody may have changed it.
///
/// # Errors
/// [`StoreError`]; what is missing, and what is wrong with the audit, is in the result.
pub fn compare(view: &View<'_>, mut extent: Extent) -> Result<Audited, StoreError> {
    let (mut audited, mut numbering) = (Audited::of(view)?, Numbering::default());
    while let Some(ExtentFile { path, opened }) = extent.next_file() {
        let failed = match opened {
            Ok(Some(file)) => match audited.read(view, file, &mut numbering)? {
                Ok(()) => continue,
                Err(error) => error,
            },
            // Retention has removed it since.
            Ok(None) => {
                numbering.unknown();
                continue;
            }
            Err(error) => error,
        };
        numbering.unknown();
        if failed.kind() == io::ErrorKind::PermissionDenied {
            let unread = CompareError::Audit { path, source: failed };
            audited.unread.get_or_insert_with(|| unread.to_string());
            continue;
        }
        let (path, error) = (path.display().to_string(), failed.to_string());
        audited.tell(Problem::AuditFile { path, error });
    }
    audited.ended(view)
}

/// Compares the ledger with the last lines of an audit that nobody writes to.
///
/// # Errors
/// [`CompareError`].
pub(crate) fn compare_latest(view: &View<'_>, files: &AuditFiles) -> Result<Audited, CompareError> {
    let (lines, _) = Tail::begin(files, LATEST_LINES)
        .map_err(|source| CompareError::Audit { path: files.active().to_owned(), source })?;
    let mut audited = Audited::of(view)?;
    for line in lines.iter().filter_map(|line| parse(line)) {
        audited.look(view, line)?;
    }
    Ok(audited.ended(view)?)
}

impl Audited {
    /// Of an audit that this process may not read, and why.
    #[must_use]
    pub fn of_none(unread: String) -> Self {
        Self { unread: Some(unread), ..Self::default() }
    }

    /// How many problems there are, those included that are not told one by one.
    #[must_use]
    pub fn problem_count(&self) -> u64 {
        self.missing + self.wrong_lines
    }

    /// Looks at all of one file; an error of reading it does not undo what it has said before.
    fn read(
        &mut self,
        view: &View<'_>,
        mut file: WalkedFile,
        numbering: &mut Numbering,
    ) -> Result<io::Result<()>, StoreError> {
        let mut line = Vec::new();
        loop {
            match file.read_line(&mut line) {
                Err(error) => return Ok(Err(error)),
                Ok(LineRead::End) => return Ok(Ok(())),
                // A server that is killed, or writes just now, has not answered yet.
                Ok(LineRead::Unfinished) if !file.is_finished() => return Ok(Ok(())),
                Ok(read) => {
                    self.line(view, &line, numbering)?;
                    if read == LineRead::Unfinished {
                        return Ok(Ok(()));
                    }
                }
            }
            line.clear();
        }
    }

    fn line(
        &mut self,
        view: &View<'_>,
        line: &[u8],
        numbering: &mut Numbering,
    ) -> Result<(), StoreError> {
        let Some(line) = parse(line) else {
            self.tell(Problem::AuditUnreadable { after: numbering.unreadable() });
            return Ok(());
        };
        let to = line.sequence;
        if let Err(from) = numbering.number(to) {
            self.tell(Problem::AuditJump { from, to });
        }
        self.look(view, line)
    }

    /// One problem of the audit itself.
    fn tell(&mut self, problem: Problem) {
        self.wrong_lines += 1;
        if self.wrong_lines <= WRONG_LINES_MAX {
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

    fn ended(mut self, view: &View<'_>) -> Result<Self, StoreError> {
        if let Some(more) = self.missing.checked_sub(MISSING_MAX).filter(|more| *more > 0) {
            self.problems.push(Problem::MoreMissing { more });
        }
        if let Some(more) = self.wrong_lines.checked_sub(WRONG_LINES_MAX).filter(|more| *more > 0) {
            self.problems.push(Problem::MoreWrongLines { more });
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

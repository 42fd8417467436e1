//! The file: a line for each acknowledged write, in the order of their answers.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use tokio::time::Instant;
use tonic::Code;

/// How long the machine runs; scripts read the same clock.
const UPTIME: &str = "/proc/uptime";

/// One acknowledged write: an entry of a secret that one writer alone writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// When the answer came, in milliseconds since the machine was started.
    pub(super) at_ms: u64,
    /// The secret.
    pub(super) secret_id: String,
    /// Which of the secret's entries it is.
    pub(super) number: u32,
    /// The entry of the log that the answer named.
    pub(super) index: u64,
    /// Calls that were made for it. With more than one, an earlier one may have had its effect, at
    /// an earlier index.
    pub(super) tries: u32,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_ms, secret_id, number, index, tries } = self;
        write!(f, "{at_ms} {secret_id} {number} {index} {tries}")
    }
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let entry = Self {
            at_ms: fields.next()?.parse().ok()?,
            secret_id: fields.next()?.to_owned(),
            number: fields.next()?.parse().ok()?,
            index: fields.next()?.parse().ok()?,
            tries: fields.next()?.parse().ok()?,
        };
        fields.next().is_none().then_some(entry)
    }
}

/// The key of an entry within its secret.
pub(super) fn entry_key(number: u32) -> String {
    format!("e{number}")
}

/// The value of an entry: no other entry of any secret has it.
pub(super) fn entry_value(secret_id: &str, number: u32) -> Vec<u8> {
    format!("{secret_id}/{number}").into_bytes()
}

/// What a ledger says.
///
/// # Errors
/// When the file cannot be read, or has a line that is none.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>> {
    let text = fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("{} is no ledger", path.display()))
}

fn parse(text: &str) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for line in text.split_inclusive('\n') {
        // Who copies the file while it is written may have half a line at its end.
        let Some(whole) = line.strip_suffix('\n') else { break };
        entries.push(Entry::parse(whole).with_context(|| format!("{whole:?} is no entry"))?);
    }
    Ok(entries)
}

/// A ledger that is written, by all writers of this process.
pub(super) struct Book {
    began: Instant,
    began_ms: u64,
    pages: Mutex<Pages>,
}

struct Pages {
    file: File,
    acknowledged: u64,
    /// What was tried again, by gRPC code.
    errors: BTreeMap<String, u64>,
}

impl Book {
    /// Goes on with a ledger, or begins one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let text = fs::read_to_string(UPTIME).with_context(|| format!("cannot read {UPTIME}"))?;
        let uptime = parse_uptime(&text).with_context(|| format!("{UPTIME} has another form"))?;
        let pages = Pages { file, acknowledged: 0, errors: BTreeMap::new() };
        Ok(Self { began: Instant::now(), began_ms: uptime, pages: Mutex::new(pages) })
    }

    /// Milliseconds since the machine was started.
    pub(super) fn now_ms(&self) -> u64 {
        let since = self.began.elapsed().as_millis();
        self.began_ms.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// Notes an acknowledged write.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn note(&self, entry: &Entry) -> Result<()> {
        let mut pages = self.pages();
        // One call for the whole line: a process that ends in between leaves a line or none.
        let line = format!("{entry}\n");
        pages.file.write_all(line.as_bytes()).context("cannot write the ledger")?;
        pages.acknowledged += 1;
        Ok(())
    }

    /// Counts a call that is made again.
    pub(super) fn count(&self, code: Code) {
        *self.pages().errors.entry(format!("{code:?}")).or_default() += 1;
    }

    /// What a person reads at the end.
    pub(super) fn summary(&self) -> String {
        let pages = self.pages();
        let mut text = format!("acknowledged: {}\n", pages.acknowledged);
        for (code, count) in &pages.errors {
            // Writing to a string cannot fail.
            writeln!(text, "tried again after {code}: {count}").ok();
        }
        text
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // Whole at any moment.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds and hundredths, and then what does not matter here.
fn parse_uptime(text: &str) -> Option<u64> {
    let (seconds, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    Some(seconds.parse::<u64>().ok()? * 1000 + hundredths.parse::<u64>().ok()? * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u32) -> Entry {
        Entry { at_ms: 7, secret_id: "e6qsecret".to_owned(), number, index: 90, tries: 2 }
    }

    #[tokio::test]
    async fn what_is_noted_is_read_and_a_second_book_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        let book = Book::open(&path).unwrap();
        book.note(&entry(1)).unwrap();
        book.count(Code::Unavailable);
        assert!(book.now_ms() >= book.began_ms && book.began_ms > 0);
        assert_eq!(book.summary(), "acknowledged: 1\ntried again after Unavailable: 1\n");
        Book::open(&path).unwrap().note(&entry(2)).unwrap();
        assert_eq!(read(&path).unwrap(), [entry(1), entry(2)]);
    }

    #[test]
    fn half_a_line_is_only_at_the_end() {
        assert_eq!(parse("7 e6qsecret 1 90 2\n7 e6qse").unwrap(), [entry(1)]);
        for wrong in ["7 e6qsecret 1 90", "7 e6qsecret 1 90 2 3", "x e6qsecret 1 90 2", ""] {
            assert!(parse(&format!("{wrong}\n")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_clock_of_the_machine_is_in_hundredths() {
        assert_eq!(parse_uptime("35.07 60.11\n"), Some(35_070));
        assert_eq!(parse_uptime("soon"), None);
    }
}

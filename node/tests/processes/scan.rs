//! The scan for canaries: values that must not be in any file or output, in any spelling.
//!
//! It looks for every run of some bytes of every spelling, not for the whole: so it finds base64
//! wherever in a longer text the value began, a value that was cut, and one of which a compressed
//! block repeats a part.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use lockbox_platform::audit::{AuditFiles, LineRead, Walk};
use rocksdb::{DB, IteratorMode, Options};

/// What is looked for: so many bytes in a row are no coincidence.
const WINDOW: usize = 16;
/// The same where a byte of the value is up to five characters.
const WIDE_WINDOW: usize = 40;
/// How much of a file is looked at at a time.
const BUFFER: usize = 1 << 16;
/// A hash of a window's first four bytes says by a table whether looking further is worthwhile.
const FIRST: usize = 4;
const HASH_BITS: u32 = 20;

const LIST: &str = "list";
const DENSE_LIST: &str = "dense list";
const ESCAPES: &str = "escapes";

/// A value that must not show.
#[derive(Clone)]
pub(crate) struct Canary {
    /// What it is, for messages.
    pub(crate) name: String,
    /// The value.
    pub(crate) bytes: Vec<u8>,
}

/// A file or output, the canary in it, and its spelling.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) place: String,
    pub(crate) canary: String,
    pub(crate) spelling: &'static str,
}

/// Looks for a set of canaries.
pub(crate) struct Scanner {
    canaries: Vec<Canary>,
    /// Canary and spelling of each window, of either length.
    windows: HashMap<Vec<u8>, (usize, &'static str)>,
    may_begin: Vec<bool>,
}

/// Every way in which bytes could be written down.
pub(crate) fn spellings(value: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let text = |write: &dyn Fn(&mut String, u8)| {
        let mut text = String::new();
        value.iter().for_each(|byte| write(&mut text, *byte));
        text.into_bytes()
    };
    let wide = |bytes: fn(u16) -> [u8; 2]| value.iter().flat_map(|b| bytes((*b).into())).collect();
    let mut all = vec![
        ("raw", value.to_vec()),
        ("hex", text(&|text, byte| write!(text, "{byte:02x}").unwrap())),
        ("hex in capitals", text(&|text, byte| write!(text, "{byte:02X}").unwrap())),
        ("UTF-16, little end first", wide(u16::to_le_bytes)),
        ("UTF-16, big end first", wide(u16::to_be_bytes)),
        // As `{:?}` shows a list of bytes, as JSON does, and as `{:?}` shows `Bytes`.
        (LIST, text(&|text, byte| write!(text, "{byte}, ").unwrap())),
        (DENSE_LIST, text(&|text, byte| write!(text, "{byte},").unwrap())),
        (ESCAPES, value.escape_ascii().collect()),
    ];
    for before in 0..3 {
        // Three bytes are four characters: where the value begins decides what they look like.
        let longer = [vec![0; before], value.to_vec()].concat();
        let own = (before * 8).div_ceil(6)..longer.len() * 8 / 6;
        for alphabet in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            all.push(("base64", alphabet.encode(&longer).as_bytes()[own.clone()].to_vec()));
        }
    }
    all
}

impl Scanner {
    pub(crate) fn new(canaries: Vec<Canary>) -> Self {
        let mut windows = HashMap::new();
        let mut may_begin = vec![false; 1 << HASH_BITS];
        for (number, canary) in canaries.iter().enumerate() {
            assert!(canary.bytes.len() >= WINDOW, "{} is too short", canary.name);
            for (spelling, bytes) in spellings(&canary.bytes) {
                for window in bytes.windows(window(spelling)) {
                    let first = window[..FIRST].iter().fold(0, |all, byte| shifted(all, *byte));
                    may_begin[hash(first)] = true;
                    windows.entry(window.to_vec()).or_insert((number, spelling));
                }
            }
        }
        Self { canaries, windows, may_begin }
    }

    /// What is found in a text or an answer.
    pub(crate) fn bytes(&self, place: &str, bytes: &[u8]) -> BTreeSet<Found> {
        self.stream(place, bytes).expect("memory can be read")
    }

    /// What is found in the files below a directory, and how many bytes they have.
    pub(crate) fn directory(&self, root: &Path) -> (BTreeSet<Found>, u64) {
        let (mut found, mut size) = (BTreeSet::new(), 0);
        for path in files(root) {
            let place = path.strip_prefix(root).expect("a path below it").display().to_string();
            // A server that runs may have removed it since.
            let Ok(file) = File::open(&path) else { continue };
            size += file.metadata().map_or(0, |metadata| metadata.len());
            found.extend(self.stream(&place, file).expect("a file that can be read"));
        }
        (found, size)
    }

    /// What is found in the audit of a data directory, in files that are compressed as in the
    /// others, and how many records it has.
    pub(crate) fn audit(&self, data: &Path) -> (BTreeSet<Found>, u64) {
        let (mut found, mut records) = (BTreeSet::new(), 0);
        let audit = AuditFiles::at(data);
        let mut walk = Walk::new(&audit);
        while let Some(mut file) = walk.next_file().expect("an audit") {
            let (mut text, mut line) = (Vec::new(), Vec::new());
            while file.read_line(&mut line).expect("a line") == LineRead::Whole {
                text.append(&mut line);
                text.push(b'\n');
                records += 1;
            }
            let place = format!("records of {}", file.path().display());
            found.extend(self.bytes(&place, &text));
        }
        (found, records)
    }

    /// What is found in the rows of the databases below a directory, which no server may use,
    /// and how many rows they have.
    ///
    /// In the files most tables are compressed: what repeats itself there is in pieces.
    pub(crate) fn rows(&self, root: &Path) -> (BTreeSet<Found>, u64) {
        let (mut found, mut count) = (BTreeSet::new(), 0);
        let databases = files(root).into_iter().filter(|path| is_current(path));
        for directory in databases.map(|path| path.with_file_name("")) {
            let place = format!("rows of {}", directory.display());
            let options = Options::default();
            let families = DB::list_cf(&options, &directory).expect("a database");
            let db = DB::open_cf_for_read_only(&options, &directory, &families, false);
            let db = db.expect("a database that can be read");
            for family in &families {
                let family = db.cf_handle(family).expect("a family that was opened");
                for row in db.iterator_cf(family, IteratorMode::Start) {
                    let (key, value) = row.expect("a row that can be read");
                    found.extend(self.bytes(&place, &key));
                    found.extend(self.bytes(&place, &value));
                    count += 1;
                }
            }
        }
        (found, count)
    }

    fn stream(&self, place: &str, mut source: impl Read) -> io::Result<BTreeSet<Found>> {
        let mut found = BTreeSet::new();
        let mut buffer = vec![0; BUFFER];
        let mut filled = 0;
        loop {
            let read = source.read(&mut buffer[filled..])?;
            if read == 0 {
                return Ok(found);
            }
            filled += read;
            for (canary, spelling) in self.look(&buffer[..filled]) {
                let canary = self.canaries[canary].name.clone();
                found.insert(Found { place: place.to_owned(), canary, spelling });
            }
            // A window may begin here and end in what is read next.
            let kept = filled.min(WIDE_WINDOW - 1);
            buffer.copy_within(filled - kept..filled, 0);
            filled = kept;
        }
    }

    fn look(&self, bytes: &[u8]) -> Vec<(usize, &'static str)> {
        let mut found = Vec::new();
        let mut last_four = 0;
        // Not by `windows`, which takes ten times as long without optimisation.
        for (end, byte) in bytes.iter().enumerate() {
            last_four = shifted(last_four, *byte);
            if !self.may_begin[hash(last_four)] || end + 1 < FIRST {
                continue;
            }
            for length in [WINDOW, WIDE_WINDOW] {
                let window = bytes[end + 1 - FIRST..].get(..length);
                found.extend(window.and_then(|window| self.windows.get(window)).copied());
            }
        }
        found
    }
}

const fn shifted(last_four: u32, byte: u8) -> u32 {
    last_four << 8 | byte as u32
}

/// Multiplicative: the upper bits depend on all four bytes.
const fn hash(first: u32) -> usize {
    (first.wrapping_mul(0x9E37_79B1) >> (u32::BITS - HASH_BITS)) as usize
}

/// How much of a spelling is enough.
fn window(spelling: &str) -> usize {
    if [LIST, DENSE_LIST, ESCAPES].contains(&spelling) { WIDE_WINDOW } else { WINDOW }
}

/// Whether it is the file that says which of a database's files count.
fn is_current(path: &Path) -> bool {
    path.ends_with("CURRENT") && std::fs::read(path).is_ok_and(|text| text.starts_with(b"MANIFEST"))
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(directory) else { return found };
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[cfg(test)]
mod tests;

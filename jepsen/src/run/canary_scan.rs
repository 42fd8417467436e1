//! The search for planted values in everything that servers have written (L12).
//!
//! Promises to find each canary as it is, in hex, in base64 at each of its three alignments, and as
//! UTF-16. Reads files whole, whatever they are, for a value has no business in any of them, and
//! what servers have compressed as it was before, too.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::books::Planted;
use crate::cluster::audit_files;
use crate::history::ids::OpId;
use crate::history::ledger::{CanaryFound, CanaryScan, ScanPlace};
use crate::history::op::Stamp;

/// Bytes of a file that are in memory at a time.
const PIECE_BYTES: usize = 4 << 20;
/// The most finds that are told: one is enough for the verdict.
const FOUND_MAX: usize = 50;
/// The shortest form that is looked for: shorter ones would be found by chance.
const FORM_BYTES_MIN: usize = 16;

/// What is looked for.
pub struct Canaries {
    matcher: AhoCorasick,
    /// Operation and form of each pattern.
    patterns: Vec<(OpId, &'static str)>,
    longest: usize,
    count: u64,
}

/// What was read and found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    bytes: u64,
    found: Vec<CanaryFound>,
}

impl Canaries {
    /// Prepares the search.
    ///
    /// # Errors
    /// When there are too many of them.
    pub fn new(planted: &[Planted]) -> Result<Self> {
        let mut texts: Vec<Vec<u8>> = Vec::new();
        let mut patterns = Vec::new();
        for Planted { op, value } in planted {
            for (form, text) in forms(value.bytes()) {
                if text.len() >= FORM_BYTES_MIN {
                    texts.push(text);
                    patterns.push((*op, form));
                }
            }
        }
        let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
        let matcher = AhoCorasick::new(&texts).context("cannot prepare the search")?;
        let count = u64::try_from(planted.len()).unwrap_or(u64::MAX);
        Ok(Self { matcher, patterns, longest, count })
    }

    /// Searches a file, or all files below a directory. What is not there holds nothing.
    ///
    /// # Errors
    /// When something that is there cannot be read.
    pub fn search(&self, path: &Path, found: &mut Found) -> Result<()> {
        let Ok(metadata) = path.symlink_metadata() else { return self.search_copy(path, found) };
        if metadata.is_dir() {
            let mut entries: Vec<PathBuf> = std::fs::read_dir(path)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<std::io::Result<_>>()?;
            entries.sort();
            return entries.iter().try_for_each(|entry| self.search(entry, found));
        }
        if !metadata.is_file() {
            return Ok(());
        }
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.search_copy(path, found);
            }
            Err(error) => return Err(error).context(path.display().to_string()),
        };
        self.search_open(&file, path, found).with_context(|| path.display().to_string())
    }

    /// Searches an audit: the file that is written to and, beside it, those that are finished.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub fn search_audit(&self, active: &Path, found: &mut Found) -> Result<()> {
        let files = audit_files::of(active).with_context(|| active.display().to_string())?;
        files.iter().try_for_each(|file| self.search(file, found))
    }

    /// A file that is gone: a table that was compacted away meanwhile, or one that is compressed
    /// by now, and that nobody has met under its new name.
    fn search_copy(&self, gone: &Path, found: &mut Found) -> Result<()> {
        let copy = audit_files::compressed(gone);
        if Packed::of(gone) == Packed::No && copy.is_file() {
            return self.search(&copy, found);
        }
        Ok(())
    }

    /// Searches a file as it is, and as it was before it was compressed.
    fn search_open(&self, mut file: &File, path: &Path, found: &mut Found) -> Result<()> {
        let name = path.display().to_string();
        self.search_stream(file, &name, found)?;
        let packed = Packed::of(path);
        if packed == Packed::No {
            return Ok(());
        }
        file.rewind()?;
        let name = format!("{name}, decompressed,");
        let unpacked = zstd::Decoder::new(file)?;
        match packed {
            Packed::No | Packed::Whole => self.search_stream(unpacked, &name, found),
            Packed::Part => self.search_stream(WhileReadable(unpacked), &name, found),
        }
    }

    /// Searches what a reader gives.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn search_stream(&self, mut from: impl Read, name: &str, found: &mut Found) -> Result<()> {
        let mut piece = Vec::new();
        let (mut before, mut kept) = (0_u64, 0_usize);
        loop {
            let read = from.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
            if read == 0 {
                return Ok(());
            }
            found.bytes += read as u64;
            for hit in self.matcher.find_overlapping_iter(&piece) {
                // What ends in the part that was kept was found in the piece before.
                if hit.end() > kept && found.found.len() < FOUND_MAX {
                    let (op, form) = self.patterns[hit.pattern().as_usize()];
                    found.found.push(CanaryFound {
                        op,
                        file: name.to_owned(),
                        offset: before + hit.start() as u64,
                        form: form.to_owned(),
                    });
                }
            }
            // A form may lie across two pieces.
            let drop = piece.len().saturating_sub(self.longest.saturating_sub(1));
            piece.drain(..drop);
            before += drop as u64;
            kept = piece.len();
        }
    }

    /// The line of a history that tells of a search.
    #[must_use]
    pub fn scan(&self, at: Stamp, place: ScanPlace, of: String, found: Found) -> CanaryScan {
        let Found { bytes, found } = found;
        CanaryScan { at, place, of, canaries: self.count, bytes, found }
    }
}

/// Whether a file is compressed, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packed {
    No,
    Whole,
    /// A server writes it, or a crash has left it.
    Part,
}

impl Packed {
    fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".zst") {
            Self::Whole
        } else if name.ends_with(".zst.part") {
            Self::Part
        } else {
            Self::No
        }
    }
}

/// Reads on as long as that is possible.
struct WhileReadable<R>(R);

impl<R: Read> Read for WhileReadable<R> {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        Ok(self.0.read(piece).unwrap_or(0))
    }
}

/// The forms in which a value may lie somewhere, each with the name that a find has.
///
/// Its first and last byte are left out, so that a value whose ends were cut is found too.
fn forms(value: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let inner = value.get(1..value.len().saturating_sub(1)).unwrap_or_default();
    let hex = |upper: bool| {
        let digit = |byte: &u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
        inner.iter().map(digit).collect::<String>().into_bytes()
    };
    let mut forms = vec![("raw", inner.to_vec()), ("hex", hex(false))];
    // A value without letters in its hex digits has one spelling, and would be found twice.
    if hex(true) != hex(false) {
        forms.push(("hex", hex(true)));
    }
    for skipped in 0..3 {
        // Groups of three bytes are encoded by themselves, wherever they begin in the stream.
        let rest = inner.get(skipped..).unwrap_or_default();
        let whole = &rest[..rest.len() / 3 * 3];
        forms.push(("base64", STANDARD_NO_PAD.encode(whole).into_bytes()));
    }
    forms.push(("utf16", inner.iter().flat_map(|byte| [*byte, 0]).collect()));
    forms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::request::Plaintext;
    use crate::workload::material::Material;

    fn value() -> Plaintext {
        Material::of_group(1, 1).value()
    }

    fn found_in(text: &[u8], value: &Plaintext) -> Vec<String> {
        let planted = Planted { op: OpId(7), value: value.clone() };
        let canaries = Canaries::new(&[planted]).unwrap();
        let mut found = Found::default();
        canaries.search_stream(text, "a file", &mut found).unwrap();
        assert_eq!(found.bytes, text.len() as u64);
        found.found.into_iter().map(|found| found.form).collect()
    }

    #[test]
    fn a_value_is_found_in_every_form() {
        let value = value();
        let within = |middle: &[u8]| [b"before".as_slice(), middle, b"after"].concat();
        let hex: String = value.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found_in(&within(value.bytes()), &value), ["raw"]);
        assert_eq!(found_in(&within(&value.bytes()[1..]), &value), ["raw"]);
        assert_eq!(found_in(&within(hex.as_bytes()), &value), ["hex"]);
        let wide: Vec<u8> = value.bytes().iter().flat_map(|byte| [*byte, 0]).collect();
        assert_eq!(found_in(&within(&wide), &value), ["utf16"]);
        for before in ["", "x", "xx", "xxx"] {
            let stream = [before.as_bytes(), value.bytes(), b"rest"].concat();
            let encoded = STANDARD_NO_PAD.encode(stream);
            assert_eq!(found_in(encoded.as_bytes(), &value), ["base64"], "after {before:?}");
        }
    }

    #[test]
    fn other_values_are_not_found() {
        let mut material = Material::of_group(1, 2);
        let others: Vec<u8> = (0..100).flat_map(|_| material.value().bytes().to_vec()).collect();
        assert!(found_in(&others, &value()).is_empty());
    }

    #[test]
    fn a_value_that_lies_across_two_pieces_is_found_once() {
        let value = value();
        for offset in [0, 1, 20, 40, 70] {
            let mut text = vec![b'.'; PIECE_BYTES - offset];
            text.extend_from_slice(value.bytes());
            text.extend_from_slice(&[b'.'; 200]);
            assert_eq!(found_in(&text, &value), ["raw"], "{offset} before the end");
        }
    }

    #[test]
    fn files_of_a_directory_are_searched_and_named() {
        let directory = tempfile::tempdir().unwrap();
        let value = value();
        std::fs::create_dir(directory.path().join("below")).unwrap();
        std::fs::write(directory.path().join("below/000012.sst"), value.bytes()).unwrap();
        let planted = Planted { op: OpId(7), value };
        let canaries = Canaries::new(&[planted]).unwrap();
        let mut found = Found::default();
        canaries.search(directory.path(), &mut found).unwrap();
        assert!(found.found[0].file.ends_with("below/000012.sst"));
        assert_eq!((found.found[0].op, found.found[0].offset), (OpId(7), 1));
        canaries.search(&directory.path().join("nothing"), &mut found).unwrap();
    }

    /// Finished files of an audit are compressed, and what is in them shows in no form then.
    #[test]
    fn what_a_server_has_compressed_is_searched_as_it_was() {
        let value = value();
        let canaries = Canaries::new(&[Planted { op: OpId(7), value: value.clone() }]).unwrap();
        // More than the compressor takes at a time, so that a part of it can be read, too.
        let records = (0..40_000).map(|number| format!("{{\"sequence\":{number}}}\n"));
        let text = [value.bytes(), records.collect::<String>().as_bytes()].concat();
        let packed = zstd::encode_all(text.as_slice(), 3).unwrap();
        let half = &packed[..packed.len() - 3];
        let name = "audit.jsonl.000000000001";
        let unpacked =
            |found: &Found| found.found.iter().filter(|f| f.file.contains("decompressed")).count();
        for (suffix, bytes, in_audit, in_data) in
            [("", &*text, 0, 0), (".zst", &*packed, 1, 1), (".zst.part", half, 0, 1)]
        {
            let directory = tempfile::tempdir().unwrap();
            let active = directory.path().join("audit.jsonl");
            std::fs::write(&active, "{\"sequence\":40000}\n").unwrap();
            std::fs::write(directory.path().join(format!("{name}{suffix}")), bytes).unwrap();
            let (mut audit, mut data) = (Found::default(), Found::default());
            canaries.search_audit(&active, &mut audit).unwrap();
            canaries.search(directory.path(), &mut data).unwrap();
            assert_eq!((unpacked(&audit), unpacked(&data)), (in_audit, in_data), "{suffix}");
            // What is being made is no file of the audit yet.
            assert_eq!(audit.found.is_empty(), suffix == ".zst.part", "{suffix}");
        }
    }

    /// A file may be compressed after its directory was read.
    #[test]
    fn what_is_compressed_meanwhile_is_found_under_its_new_name() {
        let value = value();
        let canaries = Canaries::new(&[Planted { op: OpId(7), value: value.clone() }]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let plain = directory.path().join("audit.jsonl.000000000001");
        let packed = zstd::encode_all(value.bytes(), 3).unwrap();
        std::fs::write(audit_files::compressed(&plain), packed).unwrap();
        let mut found = Found::default();
        canaries.search(&plain, &mut found).unwrap();
        assert!(!found.found.is_empty());
        // Whatever its name says, what cannot be read was not looked at.
        std::fs::write(audit_files::compressed(&plain), "no zstd").unwrap();
        assert!(canaries.search(&plain, &mut found).is_err());
    }
}

//! The files of a server's audit: those that are finished, some of them compressed, and the one
//! that is written to. A server that runs may compress one between two looks.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// What a compressed file's name ends in.
const COMPRESSED: &str = ".zst";
/// What the name of one that is being made ends in.
const PART: &str = ".part";

/// The files of the audit that is written to `active`, the oldest first and `active` last. A
/// finished one has the name that it had before it was compressed, and is there once.
///
/// # Errors
/// When the directory cannot be read.
pub fn of(active: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(directory), Some(name)) = (active.parent(), active.file_name()) else {
        return Ok(vec![active.to_owned()]);
    };
    let Some(entries) = found(std::fs::read_dir(directory))? else { return Ok(Vec::new()) };
    let prefix = format!("{}.", name.to_string_lossy());
    let mut finished = BTreeSet::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(&prefix) && !name.ends_with(PART) {
            finished.insert(name.strip_suffix(COMPRESSED).unwrap_or(&name).to_owned());
        }
    }
    let mut files: Vec<PathBuf> = finished.iter().map(|name| directory.join(name)).collect();
    files.push(active.to_owned());
    Ok(files)
}

/// The name of a file once it is compressed.
#[must_use]
pub fn compressed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(COMPRESSED);
    name.into()
}

/// Opens one, compressed or not; nothing when it is not there.
///
/// # Errors
/// When it cannot be opened.
pub fn open(path: &Path) -> io::Result<Option<Box<dyn BufRead>>> {
    // ORDER: what is compressed is removed after its copy is there.
    if let Some(file) = found(File::open(path))? {
        return Ok(Some(Box::new(BufReader::new(file))));
    }
    let Some(file) = found(File::open(compressed(path)))? else { return Ok(None) };
    Ok(Some(Box::new(BufReader::new(zstd::Decoder::new(file)?))))
}

fn found<T>(opened: io::Result<T>) -> io::Result<Option<T>> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn finished_files_are_read_once_and_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let active = directory.path().join("audit.jsonl");
        let packed = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(directory.path().join(name), bytes).unwrap();
        };
        write("audit.jsonl", b"c");
        write("audit.jsonl.000000000009", b"b");
        write("audit.jsonl.000000000009.zst", &packed("b"));
        write("audit.jsonl.000000000009.zst.part", b"half");
        write("audit.jsonl.000000000004.zst", &packed("a"));
        write("other", b"other");
        let mut text = String::new();
        for file in of(&active).unwrap() {
            open(&file).unwrap().unwrap().read_to_string(&mut text).unwrap();
        }
        assert_eq!(text, "abc");
    }

    #[test]
    fn without_a_directory_there_are_no_files() {
        let directory = tempfile::tempdir().unwrap();
        let nothing = directory.path().join("nothing").join("audit.jsonl");
        assert!(of(&nothing).unwrap().is_empty());
        assert!(open(&nothing).unwrap().is_none());
    }
}

//! The loss of power: a node's data directory becomes what was synced of it, and perhaps a part
//! of the rest.
//!
//! The image of what is durable is kept by `raft/tests/preload/forget_unsynced.c`, which says what
//! is modelled. The node must be dead.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::random::Random;

/// What a loss of power leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Survives {
    /// What was synced, and nothing else.
    OnlySynced,
    /// Also a random part of the rest: names, and of what was appended to a file a prefix.
    SomeOfTheRest,
}

/// What was lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Bytes at the ends of files.
    pub bytes: u64,
    /// Names of files that were created, and of ones that were removed and are back.
    pub names: u64,
}

/// An entry of a directory.
#[derive(Clone, PartialEq, Eq)]
struct Name {
    is_directory: bool,
    inode: u64,
    name: String,
}

/// Takes the power away from a dead node's data, whose durable image is in `durable`.
///
/// # Errors
/// When a file cannot be read or written. The data may then be neither the one nor the other.
pub fn lose_power(
    data: &Path,
    durable: &Path,
    survives: Survives,
    random: &mut Random,
) -> Result<Lost> {
    let root = fs::metadata(data)?.ino();
    let mut lost = Lost::default();
    // Without the list of the topmost directory the program has not begun.
    if durable.join(format!("names/{root}")).exists() {
        let mut live = Live::default();
        live.take_in(data, root)?;
        let mut loss = Loss { durable, live, survives, random, contents: BTreeMap::new(), lost };
        let after = data.with_extension("after");
        loss.build(&after, root)?;
        lost = loss.lost;
        fs::remove_dir_all(data)?;
        fs::rename(&after, data)?;
    }
    fs::remove_dir_all(durable)?;
    fs::create_dir(durable)?;
    Ok(lost)
}

/// What the program left, by inode.
#[derive(Default)]
struct Live {
    files: BTreeMap<u64, PathBuf>,
    directories: BTreeMap<u64, Vec<Name>>,
}

impl Live {
    fn take_in(&mut self, path: &Path, inode: u64) -> Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let (inode, is_directory) = (metadata.ino(), metadata.is_dir());
            if is_directory {
                self.take_in(&entry.path(), inode)?;
            } else {
                self.files.insert(inode, entry.path());
            }
            let name = entry.file_name().into_string().ok().context("a name that is no text")?;
            names.push(Name { is_directory, inode, name });
        }
        names.sort_by(|a, b| a.name.cmp(&b.name));
        self.directories.insert(inode, names);
        Ok(())
    }
}

/// One loss of power.
struct Loss<'a> {
    durable: &'a Path,
    live: Live,
    survives: Survives,
    random: &'a mut Random,
    /// A file has one content under all its names.
    contents: BTreeMap<u64, Vec<u8>>,
    lost: Lost,
}

impl Loss<'_> {
    /// Builds what is left of a directory.
    fn build(&mut self, path: &Path, inode: u64) -> Result<()> {
        fs::create_dir(path)?;
        let names = self.names(inode)?;
        for Name { is_directory, inode, name } in names {
            if is_directory {
                self.build(&path.join(name), inode)?;
            } else {
                fs::write(path.join(name), self.content(inode)?)?;
            }
        }
        Ok(())
    }

    fn luck(&mut self, of: u64) -> u64 {
        match self.survives {
            Survives::OnlySynced => 0,
            Survives::SomeOfTheRest => self.random.below(of),
        }
    }

    fn names(&mut self, inode: u64) -> Result<Vec<Name>> {
        let live = self.live.directories.remove(&inode).unwrap_or_default();
        if self.luck(2) == 1 && !live.is_empty() {
            return Ok(live);
        }
        let list = self.durable.join(format!("names/{inode}"));
        let list = if list.exists() { fs::read_to_string(list)? } else { String::new() };
        let mut names = Vec::new();
        for line in list.lines() {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().context("a line of the image is too short");
            let (kind, inode, name) = (word()?, word()?.parse()?, word()?.to_owned());
            names.push(Name { is_directory: kind == "d", inode, name });
        }
        // Not in the order of the real directory, so that a seed gives the same loss.
        names.sort_by(|a, b| a.name.cmp(&b.name));
        let only_in = |one: &[Name], other: &[Name]| {
            one.iter().filter(|name| !other.contains(name)).count() as u64
        };
        self.lost.names += only_in(&live, &names) + only_in(&names, &live);
        Ok(names)
    }

    fn content(&mut self, inode: u64) -> Result<Vec<u8>> {
        if let Some(content) = self.contents.get(&inode) {
            return Ok(content.clone());
        }
        let image = self.durable.join(format!("files/{inode}"));
        let mut content = if image.exists() { fs::read(image)? } else { Vec::new() };
        if let Some(live) = self.live.files.get(&inode) {
            let live = fs::read(live)?;
            // What was written over in place is kept as it was synced.
            if let Some(unsynced) = live.strip_prefix(content.as_slice()) {
                let kept = match self.luck(3) {
                    0 => 0,
                    1 => self.random.below(unsynced.len() as u64 + 1),
                    _ => unsynced.len() as u64,
                };
                let kept = usize::try_from(kept)?;
                self.lost.bytes += (unsynced.len() - kept) as u64;
                content.extend(unsynced.iter().take(kept));
            }
        }
        self.contents.insert(inode, content.clone());
        Ok(content)
    }
}

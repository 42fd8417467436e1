//! Bits of a stopped node's files that change, and change back at the end.
//!
//! One node at a time, so a majority always has undamaged data. The node must refuse to start,
//! repair itself, answer right, or end once it reads what is damaged, saying why by its exit code;
//! the laws judge the answers. A node that has marked its data as damaged is replaced, and so is
//! one that still does not start with its bits restored.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::action::Victims;
use super::claims::Claim;
use super::class::FaultClass;
use super::event::Outcome;
use super::membership::replace_lost;
use super::scene::Scene;
use super::victims::choose;
use super::{Begun, Fault};
use crate::cluster::part::Part;
use crate::cluster::server::Life;
use crate::moment::until;
use crate::random::Random;

/// How long a node may take to say that it refuses, or to be ready.
const START: Duration = Duration::from_secs(15);
/// What a node exits with that cannot go on with its data: they cannot be read, are damaged, are of
/// somebody else, are lost, or are others than most members have (`docs/disk.md`).
const REFUSALS: [i32; 5] = [10, 11, 13, 16, 18];
/// The file by which a node knows that it must not start on its data.
const DAMAGED: &str = "DAMAGED";

pub(super) struct BitFlip {
    bits: u8,
    random: Random,
    node: Option<u16>,
    flips: Vec<Flip>,
    claim: Option<Claim>,
}

/// A changed bit: only what still looks as it was left is changed back.
///
/// In the file itself, whatever it is called by then: a snapshot shares its files with the state,
/// and the name in the snapshot goes with the next one.
struct Flip {
    path: PathBuf,
    file: File,
    at: u64,
    damaged: u8,
    mask: u8,
}

impl BitFlip {
    pub(super) const fn new(bits: u8, random: Random) -> Self {
        Self { bits, random, node: None, flips: Vec::new(), claim: None }
    }
}

impl Fault for BitFlip {
    fn inject(&mut self, scene: &Scene) -> Result<Begun> {
        let chosen = choose(Victims::One, scene, &mut self.random);
        let Some(node) = chosen.first().copied() else {
            return Ok(Begun::skipped("there is no node"));
        };
        let part = Part::Node(node);
        match scene.claims.take_to_damage(FaultClass::BitFlip, &[part]) {
            Ok(claim) => self.claim = Some(claim),
            Err(reason) => return Ok(Begun::skipped(reason)),
        }
        self.node = Some(node);
        scene.cluster.server(part)?.kill()?;
        let mut files = Vec::new();
        collect(&scene.cluster.files().data(part), &mut files)?;
        files.sort();
        for _ in 0..self.bits {
            if let Some(path) = self.random.pick(&files) {
                let flip = flip(path, &mut self.random)?;
                self.flips.push(flip);
            }
        }
        scene.cluster.launch(part)?;
        let names = self.flips.iter().filter_map(|flip| flip.path.file_name()?.to_str());
        Ok(Begun::on(format!("{part}: {}", names.collect::<Vec<_>>().join(" "))))
    }

    fn verify(&mut self, scene: &Scene) -> Result<Outcome> {
        let Some(node) = self.node else {
            return Ok(Outcome::Skipped("no bit was changed".to_owned()));
        };
        if self.flips.is_empty() {
            return Ok(Outcome::Indeterminate("the node has no files".to_owned()));
        }
        // Each was read back after it was changed.
        says_why(scene, Part::Node(node))?;
        Ok(Outcome::Installed)
    }

    fn heal(&mut self, scene: &Scene) -> Result<()> {
        let Some(node) = self.node.take() else { return Ok(()) };
        let part = Part::Node(node);
        scene.cluster.server(part)?.kill()?;
        if scene.cluster.files().data(part).join(DAMAGED).exists() {
            // It does not start on them again, whatever is in them by now.
            self.flips.clear();
            replace_lost(scene, node).with_context(|| format!("{part} has damaged data"))?;
            self.claim = None;
            return Ok(());
        }
        // Two of them may have hit one byte: the last one first.
        for flip in self.flips.drain(..).rev() {
            flip.back()?;
        }
        scene.cluster.launch(part)?;
        let server = scene.cluster.server(part)?;
        let ended = until(START, || match server.life() {
            Ok(Life::Down) => Some(Ok(true)),
            Ok(Life::Runs | Life::Paused) => {
                (scene.cluster.is_ready(part) == Some(true)).then_some(Ok(false))
            }
            Err(error) => Some(Err(error)),
        });
        // One that runs and is not ready waits for others; the watch goes on looking at it.
        if ended.transpose()? == Some(true) {
            replace_lost(scene, node).with_context(|| format!("{part} refuses its data"))?;
        }
        self.claim = None;
        Ok(())
    }
}

/// Makes sure that a node which has ended did so for its data. What an earlier build ends with is
/// not ours to judge.
fn says_why(scene: &Scene, part: Part) -> Result<()> {
    let server = scene.cluster.server(part)?;
    let two_builds = scene.cluster.spec().programs.other_lockbox.is_some();
    if two_builds || server.life()? != Life::Down {
        return Ok(());
    }
    match server.exit_code() {
        Some(code) if REFUSALS.contains(&code) => Ok(()),
        code => {
            let last_words = server.last_words();
            bail!(
                "{part} ended with {code:?} over damaged data, which is none of {REFUSALS:?}: \
                 {last_words}"
            )
        }
    }
}

/// The files of the database: the audit file is nothing that a node reads.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, metadata) = (entry.path(), entry.metadata()?);
        if metadata.is_dir() {
            collect(&path, files)?;
        } else if metadata.len() > 0 && !is_for_people(&path) {
            files.push(path);
        }
    }
    Ok(())
}

/// Files that no program reads again: audit, RocksDB's own log, options.
fn is_for_people(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("LOG") || name.starts_with("audit") || name == "LOCK"
}

fn flip(path: &Path, random: &mut Random) -> Result<Flip> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let (at, mask) = (random.below(file.metadata()?.len()), 1 << random.below(8));
    let damaged = byte(&file, at)? ^ mask;
    file.write_all_at(&[damaged], at)?;
    anyhow::ensure!(byte(&file, at)? == damaged, "a bit of {} did not change", path.display());
    Ok(Flip { path: path.to_owned(), file, at, damaged, mask })
}

fn byte(file: &File, at: u64) -> Result<u8> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    Ok(byte[0])
}

impl Flip {
    /// Changes the bit back, unless the file has been written over.
    fn back(self) -> Result<()> {
        let there = self.file.metadata()?.len() > self.at;
        if there && byte(&self.file, self.at)? == self.damaged {
            self.file.write_all_at(&[self.damaged ^ self.mask], self.at)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_changes_and_changes_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("000004.log");
        fs::write(&path, b"content").unwrap();
        fs::write(directory.path().join("LOG"), b"for people").unwrap();
        let mut files = Vec::new();
        collect(directory.path(), &mut files).unwrap();
        assert_eq!(files, std::slice::from_ref(&path));

        let mut random = Random::new(1);
        let first = flip(&path, &mut random).unwrap();
        let damaged = fs::read(&path).unwrap();
        let differ = damaged.iter().zip(b"content").filter(|(a, b)| a != b).count();
        assert_eq!(differ, 1);
        first.back().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"content");

        // A file that was replaced meanwhile is left alone.
        let second = flip(&path, &mut random).unwrap();
        let replaced = fs::read(&path).unwrap();
        fs::rename(&path, directory.path().join("old")).unwrap();
        fs::write(&path, &replaced).unwrap();
        second.back().unwrap();
        assert_eq!(fs::read(&path).unwrap(), replaced);
        fs::remove_file(directory.path().join("old")).unwrap();

        // One that has lost this name and has another one is not.
        let content = fs::read(&path).unwrap();
        let third = flip(&path, &mut random).unwrap();
        let other = directory.path().join("shared");
        fs::hard_link(&path, &other).unwrap();
        fs::remove_file(&path).unwrap();
        third.back().unwrap();
        assert_eq!(fs::read(&other).unwrap(), content);
    }
}

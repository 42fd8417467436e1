//! What a bundle tells of itself: of which commit it is, which programs ran, and where.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{ABOUT_FILE, MATRIX_FILE, RUNS_DIRECTORY};
use crate::digest;
use crate::run::facts::Facts;

/// Version of the format.
const FORMAT: u32 = 1;
/// The programs of a commit.
const PROGRAMS: [&str; 3] = ["kms-sim", "lockbox", "lockbox-jepsen"];

/// See the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Version of the format.
    pub format: u32,
    /// The commit, in full.
    pub commit: String,
    /// The runs, by the names of their directories.
    pub runs: Vec<String>,
    /// Whether there is a kill matrix.
    pub matrix: bool,
    /// SHA-256 of each program, by its name.
    pub programs: BTreeMap<String, String>,
    /// What the tools that build say of themselves, by their names.
    pub toolchain: BTreeMap<String, String>,
    /// What is to be known of the machine, by what it is.
    pub machine: BTreeMap<String, String>,
}

impl About {
    /// Of a commit whose programs are in a directory, and of this machine.
    ///
    /// # Errors
    /// When a program is not there.
    pub fn gather(commit: &str, programs: &Path, runs: Vec<String>, matrix: bool) -> Result<Self> {
        let hash = |name: &str| -> Result<(String, String)> {
            Ok((name.to_owned(), digest::of_file(&programs.join(name))?.1))
        };
        Ok(Self {
            format: FORMAT,
            commit: commit.to_owned(),
            runs,
            matrix,
            programs: PROGRAMS.into_iter().map(hash).collect::<Result<_>>()?,
            toolchain: ["rustc", "cargo"].into_iter().filter_map(tool).collect(),
            machine: machine(),
        })
    }

    /// Stores it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, bundle: &Path) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        fs::write(bundle.join(ABOUT_FILE), text).context("cannot write what the bundle is about")
    }

    /// Reads it, and checks that it tells of what is there.
    ///
    /// # Errors
    /// When it is none or tells of something else.
    pub fn read(bundle: &Path) -> Result<Self> {
        let text = fs::read(bundle.join(ABOUT_FILE)).context(ABOUT_FILE)?;
        let about: Self = serde_json::from_slice(&text).context(ABOUT_FILE)?;
        ensure!(about.format == FORMAT, "{ABOUT_FILE} has format {}", about.format);
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        ensure!(
            about.commit.len() == 40 && about.commit.bytes().all(hex),
            "{ABOUT_FILE}: {:?} is not the full id of a commit",
            about.commit
        );
        let mut there = Vec::new();
        let runs = bundle.join(RUNS_DIRECTORY);
        for entry in fs::read_dir(&runs).with_context(|| runs.display().to_string())? {
            there.push(entry?.file_name().to_string_lossy().into_owned());
        }
        there.sort_unstable();
        let runs = &about.runs;
        ensure!(&there == runs, "{ABOUT_FILE} names the runs {runs:?}, and there are {there:?}");
        ensure!(!there.is_empty(), "there is no run in the bundle");
        let is_there = bundle.join(MATRIX_FILE).exists();
        ensure!(about.matrix == is_there, "{ABOUT_FILE} is wrong about the kill matrix");
        Ok(about)
    }

    /// Checks that a run was one of this commit's programs.
    ///
    /// # Errors
    /// When it was not, or does not say.
    pub fn covers(&self, facts: &Facts) -> Result<()> {
        let (here, there) = (&self.commit, &facts.commit);
        ensure!(here == there, "it is a run of commit {there:?}, and the bundle is of {here}");
        let named: Vec<&str> = facts.programs.keys().map(String::as_str).collect();
        ensure!(named == PROGRAMS, "it says that {named:?} ran, and a run has {PROGRAMS:?}");
        for (name, hash) in &facts.programs {
            let ours = self.programs.get(name).map_or("none", String::as_str);
            ensure!(ours == hash, "its {name} has SHA-256 {hash}, and that of the bundle {ours}");
        }
        Ok(())
    }
}

/// A tool that is not here said nothing.
fn tool(name: &str) -> Option<(String, String)> {
    let output = Command::new(name).arg("-vV").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| (name.to_owned(), text.trim_end().to_owned()))
}

fn machine() -> BTreeMap<String, String> {
    let from = |path: &str, key: &str| -> Option<String> {
        let text = fs::read_to_string(path).ok()?;
        let value = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some(value.trim_matches(['\t', ' ', ':', '"']).to_owned())
    };
    let cores = std::thread::available_parallelism().ok().map(|cores| cores.to_string());
    let facts = [
        ("architecture", Some(std::env::consts::ARCH.to_owned())),
        ("cores", cores),
        ("kernel", from("/proc/sys/kernel/osrelease", "")),
        ("memory", from("/proc/meminfo", "MemTotal:")),
        ("processor", from("/proc/cpuinfo", "model name")),
        ("system", from("/etc/os-release", "PRETTY_NAME=")),
    ];
    let known = |(what, fact): (&str, Option<String>)| Some((what.to_owned(), fact?));
    facts.into_iter().filter_map(known).collect()
}

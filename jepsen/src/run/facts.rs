//! What is to be known of a run years later, beside its plan and its history.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::directory::RunDirectory;
use super::recorded_faults::class_of;
use crate::cluster::Programs;
use crate::digest;
use crate::doctor::examine;
use crate::nemesis::class::FaultClass;
use crate::report::input::MissingFault;

/// Where the commit of the programs is told.
const COMMIT_VARIABLE: &str = "LOCKBOX_COMMIT";

/// The facts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The commit whose programs ran, if anybody said.
    pub commit: String,
    /// Classes of faults that the machine could not do, and for want of what.
    pub left_out: Vec<(FaultClass, String)>,
    /// SHA-256 of each program that ran, by its name; of an old record, nothing.
    #[serde(default)]
    pub programs: BTreeMap<String, String>,
    /// SHA-256 of the other build of `lockbox` that nodes changed to and from; empty without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub other_build: String,
}

impl Facts {
    /// Those of this machine and these programs.
    ///
    /// # Errors
    /// When a program cannot be read.
    pub fn gather(programs: &Programs) -> Result<Self> {
        let left_out = examine(Some(programs)).left_out();
        let mut hashes = BTreeMap::new();
        let suite = std::env::current_exe().context("the path of this program")?;
        for (name, path) in [
            ("lockbox", &programs.lockbox),
            ("kms-sim", &programs.kms_sim),
            // What recorded the answers is to be known as well as who gave them.
            ("lockbox-jepsen", &suite),
        ] {
            hashes.insert(name.to_owned(), digest::of_file(path)?.1);
        }
        let other = programs.other_lockbox.as_deref().map(digest::of_file).transpose()?;
        Ok(Self {
            commit: std::env::var(COMMIT_VARIABLE).unwrap_or_default(),
            left_out: left_out.into_iter().map(|(class, what)| (class, what.to_owned())).collect(),
            programs: hashes,
            other_build: other.map(|(_, hash)| hash).unwrap_or_default(),
        })
    }

    /// Stores them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        RunDirectory::write_json(path, self)
    }

    /// Reads them; of a record without, nothing is known.
    ///
    /// # Errors
    /// When the file is none.
    pub fn read(path: &Path) -> Result<Self> {
        match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).context(path.display().to_string()),
        }
    }

    /// The classes as a report shows them.
    #[must_use]
    pub fn missing_faults(&self) -> Vec<MissingFault> {
        let missing = |(class, what): &(FaultClass, String)| MissingFault {
            class: class_of(*class, None),
            why: format!("for want of: {what}"),
        };
        self.left_out.iter().map(missing).collect()
    }
}

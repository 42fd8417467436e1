//! Whether the audit of every server is what it wrote: `lockbox audit verify`, after all kills and
//! losses of a run.
//!
//! Those of members and of the KMS may be compared with the heads that the cluster has of them. Of a
//! node that is no member any more the cluster may know the audit of a disk that is lost: that one is
//! judged by itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::directory::RunDirectory;
use crate::cluster::part::Part;
use crate::cluster::program::run;
use crate::cluster::{Cluster, audit_files};

/// What the audits of members are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// Nothing else: no server has to answer.
    Themselves,
    /// The heads in the log, which each member is asked for.
    Heads,
}

/// Checks all of them, and stores what was said of each.
///
/// # Errors
/// When one is not what was written, or cannot be read.
pub fn verify(cluster: &Cluster, against: Against, directory: &RunDirectory) -> Result<()> {
    let (spec, members) = (cluster.spec(), cluster.members());
    let mut said = BTreeMap::new();
    for part in (1..=spec.nodes + spec.spares).map(Part::Node).chain([Part::Kms]) {
        let files = audit_files::of(&cluster.audit(part))?;
        // Its process was never started, or has not come so far.
        if !files.iter().any(|file| file.exists() || audit_files::compressed(file).exists()) {
            continue;
        }
        let data = cluster.files().data(part).to_string_lossy().into_owned();
        let verified = match part {
            Part::Node(id) if against == Against::Heads && members.contains(&id) => {
                let node = id.to_string();
                let admin = cluster.admin();
                admin.audit(id, &["verify", &data, "--cluster", "--node", &node])
            }
            Part::Kms if against == Against::Heads => {
                let first = *members.first().context("the cluster has no node")?;
                cluster.admin().audit(first, &["verify", &data, "--cluster", "--kms"])
            }
            Part::Node(_) | Part::Kms => {
                let lockbox = spec.programs.lockbox.to_string_lossy();
                run(&lockbox, ["audit", "verify", &data])
            }
        };
        said.insert(part.to_string(), verified.with_context(|| format!("the audit of {part}"))?);
    }
    let mut text = String::new();
    for (part, said) in said {
        // Writing to a string cannot fail.
        write!(text, "{part}:\n{said}").ok();
    }
    std::fs::write(directory.audits(), text).context("cannot write what the audits are")
}

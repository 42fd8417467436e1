//! What is kept of the servers' data: when a run is not valid the newest files of all of them, and
//! the KMS's whole and the nodes' audits when a run is for the bill.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use super::evidence::ServerPlaces;
use crate::cluster::Cluster;
use crate::cluster::part::Part;
use crate::cluster::server::Server;

/// As much as is kept, in bytes (`verification §3.7`).
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// Copies them below `to`, each server's into a directory of its own.
///
/// # Errors
/// When a file cannot be copied.
pub fn keep(servers: &[ServerPlaces], to: &Path) -> Result<()> {
    let mut files = Vec::new();
    for server in servers {
        list(&server.data, &mut |path, changed, bytes| {
            files.push((changed, bytes, path, server));
        });
    }
    files.sort_by_key(|(changed, ..)| std::cmp::Reverse(*changed));
    let mut left = KEPT_BYTES_MAX;
    for (_, bytes, path, server) in files {
        if bytes > left {
            continue;
        }
        left -= bytes;
        let below = path.strip_prefix(&server.data).unwrap_or(&path);
        let target = to.join(&server.name).join(below);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        match fs::copy(&path, &target) {
            Ok(_) => {}
            // The server compacted it away meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context(path.display().to_string()),
        }
    }
    Ok(())
}

/// Ends a server and copies all of its data, the database's own order of files included.
///
/// # Errors
/// When it does not end, or a file cannot be copied.
pub fn keep_whole(server: &Server, data: &Path, to: &Path) -> Result<()> {
    server.stop()?;
    let mut files = Vec::new();
    list(data, &mut |path, _, _| files.push(path));
    for path in files {
        let target = to.join(path.strip_prefix(data).unwrap_or(&path));
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        fs::copy(&path, &target).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Copies the members' audits below `to`, each into a directory of its own, and the heads that the
/// cluster keeps of them into `heads.json`: `lockbox audit verify` takes both.
///
/// # Errors
/// When nobody tells the heads, or a file cannot be copied.
pub fn keep_audits(cluster: &Cluster, to: &Path) -> Result<()> {
    let members = cluster.members();
    let first = *members.first().context("the cluster has no node")?;
    // ORDER: before the files are copied, which only grow.
    let heads = cluster.admin().audit_heads(first)?;
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    fs::write(to.join("heads.json"), heads).context("cannot write the heads of audits")?;
    for part in members.into_iter().map(Part::Node) {
        let (audit, directory) = (cluster.audit(part), to.join(part.to_string()));
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        let target = directory.join("audit.jsonl");
        fs::copy(&audit, &target).with_context(|| audit.display().to_string())?;
    }
    Ok(())
}

/// Tells of every file below a directory. What cannot be read is not there to be kept.
fn list(directory: &Path, tell: &mut impl FnMut(PathBuf, SystemTime, u64)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            list(&entry.path(), tell);
        } else if metadata.is_file() {
            let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            tell(entry.path(), changed, metadata.len());
        }
    }
}

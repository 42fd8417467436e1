//! What is kept of the servers' data when a run is not valid: the newest files of all of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use super::evidence::ServerPlaces;

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

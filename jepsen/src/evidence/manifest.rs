//! The manifest: every file of a bundle with its size and hash, so that a changed, missing or
//! added file is named.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::digest;

/// The manifest.
pub const MANIFEST_FILE: &str = "MANIFEST.json";
/// Its hash, as `sha256sum --check` reads it.
pub const MANIFEST_HASH_FILE: &str = "MANIFEST.sha256";
/// Version of the format.
const FORMAT: u32 = 1;

/// See the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the format.
    pub format: u32,
    /// The files, by their paths.
    pub files: Vec<Entry>,
}

/// A file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its path below the bundle, with `/` between the parts.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 in lowercase hex.
    pub sha256: String,
}

/// Writes the manifest of what is in a directory, and its hash; gives the hash.
///
/// # Errors
/// When a file cannot be read or written, or is none.
pub fn write(bundle: &Path) -> Result<String> {
    let mut files = Vec::new();
    for path in list(bundle)? {
        let (bytes, sha256) = digest::of_file(&bundle.join(&path))?;
        files.push(Entry { path, bytes, sha256 });
    }
    let mut text = serde_json::to_vec_pretty(&Manifest { format: FORMAT, files })?;
    text.push(b'\n');
    let hash = digest::of_bytes(&text);
    fs::write(bundle.join(MANIFEST_FILE), text).context("cannot write the manifest")?;
    let line = hash_line(&hash);
    fs::write(bundle.join(MANIFEST_HASH_FILE), line).context("cannot write its hash")?;
    Ok(hash)
}

/// Checks a bundle against its manifest, and the manifest against its hash; gives the manifest and
/// that hash.
///
/// # Errors
/// The first file that is missing, changed or in no manifest.
pub fn check(bundle: &Path) -> Result<(Manifest, String)> {
    let path = bundle.join(MANIFEST_FILE);
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let hash = digest::of_bytes(&text);
    let path = bundle.join(MANIFEST_HASH_FILE);
    let told = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        told == hash_line(&hash).into_bytes(),
        "{MANIFEST_FILE} has been changed: its SHA-256 is {hash}, and {MANIFEST_HASH_FILE} says \
         another"
    );
    let manifest: Manifest = serde_json::from_slice(&text).context(MANIFEST_FILE)?;
    ensure!(manifest.format == FORMAT, "{MANIFEST_FILE} has format {}", manifest.format);
    let is_sorted = manifest.files.windows(2).all(|pair| match pair {
        [one, next] => one.path < next.path,
        _ => true,
    });
    ensure!(is_sorted, "{MANIFEST_FILE} does not list its files in order, each once");
    let there = list(bundle)?;
    let listed: BTreeMap<&str, &Entry> =
        manifest.files.iter().map(|entry| (entry.path.as_str(), entry)).collect();
    if let Some(extra) = there.iter().find(|path| !listed.contains_key(path.as_str())) {
        bail!("{extra} is not in the manifest");
    }
    if let Some(missing) = listed.keys().find(|path| !there.iter().any(|found| found == *path)) {
        bail!("{missing} is missing");
    }
    for entry in &manifest.files {
        let (bytes, sha256) = digest::of_file(&bundle.join(&entry.path))?;
        ensure!(
            (bytes, &sha256) == (entry.bytes, &entry.sha256),
            "{} has been changed: it has {bytes} bytes and SHA-256 {sha256}, and the manifest says \
             {} and {}",
            entry.path,
            entry.bytes,
            entry.sha256
        );
    }
    Ok((manifest, hash))
}

fn hash_line(hash: &str) -> String {
    format!("{hash}  {MANIFEST_FILE}\n")
}

/// The paths of all files but the manifest and its hash, in order.
fn list(bundle: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    add(bundle, "", &mut files)?;
    files.retain(|path| path != MANIFEST_FILE && path != MANIFEST_HASH_FILE);
    files.sort_unstable();
    Ok(files)
}

fn add(directory: &Path, below: &str, files: &mut Vec<String>) -> Result<()> {
    let entries = fs::read_dir(directory);
    for entry in entries.with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_str().with_context(|| format!("{} is no text", path.display()))?;
        let name = format!("{below}{name}");
        // A link would make what is judged depend on what is outside.
        let kind = entry.file_type()?;
        if kind.is_dir() {
            add(&path, &format!("{name}/"), files)?;
        } else {
            ensure!(kind.is_file(), "{name} is neither a file nor a directory");
            files.push(name);
        }
    }
    Ok(())
}

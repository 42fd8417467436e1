//! What another user of the machine can learn from the servers' processes and files.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::{Cluster, PARTS, Part};
use crate::messages::text;

/// SIGABRT: by default it ends a process with a core file, as a crash does. (Of SIGSEGV from
/// outside, Rust's handler of stack overflows makes nothing.)
const ABORTED: i32 = 6;

/// A directory and all that is below it.
fn below(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        if path.is_dir() {
            found.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s21_no_core_is_written_and_no_file_is_for_others() {
    let mut cluster = Cluster::start(Vec::new()).await;
    let admin = cluster.admin(Part::Node(1));
    admin.create("", vec![text("k", "v")]).await;
    for part in PARTS {
        let limits = format!("/proc/{}/limits", cluster.pid(part));
        let limits = std::fs::read_to_string(limits).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        let words: Vec<&str> = core.split_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"], "{part}");

        let files = below(&cluster.data(part));
        assert!(files.len() > 5, "{part}: {files:?}");
        for file in files {
            // The database takes files away at any time.
            let Ok(metadata) = std::fs::metadata(&file) else { continue };
            let mode = metadata.permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}: {mode:o}", file.display());
        }
    }
    // A server that crashes leaves no core, wherever the kernel would put one.
    for part in PARTS.into_iter().rev() {
        let pid = cluster.pid(part).to_string();
        assert!(Command::new("kill").args(["-ABRT", &pid]).status().unwrap().success());
        let status = cluster.crashed(part).await;
        assert_eq!(status.signal(), Some(ABORTED), "{part}: {status}");
        assert!(!status.core_dumped(), "{part}: {status}");
    }
    let here = std::fs::read_dir(cluster.directory()).unwrap();
    let here = here.map(|entry| entry.unwrap().file_name());
    let cores: Vec<_> = here.filter(|name| name.to_string_lossy().starts_with("core")).collect();
    assert!(cores.is_empty(), "{cores:?}");
}

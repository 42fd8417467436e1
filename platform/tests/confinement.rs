//! A confined process. Alone in a target of its own: it is this process that is confined.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lockbox_platform::confinement::{confine_directory, confine_process, lock_memory};
use rustix::process::{Resource, Rlimit, setrlimit};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[test]
fn a_confined_process_leaves_nothing_to_others() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("old")).expect("a directory");
    fs::set_permissions(at("old"), Permissions::from_mode(0o755)).expect("open to all");

    confine_process().expect("a system that allows it");
    let limits = fs::read_to_string("/proc/self/limits").expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    let words: Vec<&str> = core.expect("a limit on cores").split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"]);
    let dumpable = rustix::process::dumpable_behavior().expect("an answer");
    assert_eq!(dumpable, rustix::process::DumpableBehavior::NotDumpable);

    fs::create_dir(at("new")).expect("a directory");
    fs::write(at("file"), "").expect("a file");
    assert_eq!((mode(&at("new")), mode(&at("file"))), (0o700, 0o600));
    for directory in ["old", "new"] {
        confine_directory(&at(directory)).expect("our own directory");
        assert_eq!(mode(&at(directory)), 0o700);
    }
    confine_directory(&at("not-yet")).expect("nothing to do");

    let limit = |bytes: Option<u64>| Rlimit { current: bytes, maximum: None };
    let may_raise = setrlimit(Resource::Memlock, limit(None)).is_ok();
    if may_raise {
        setrlimit(Resource::Memlock, limit(Some(1 << 20))).expect("less is always allowed");
    }
    // Below a limit nothing is locked: allocations would fail later on.
    let refused = lock_memory().expect_err("memlock is limited");
    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    if may_raise {
        setrlimit(Resource::Memlock, limit(None)).expect("as before");
        lock_memory().expect("nothing is in the way");
        let status = fs::read_to_string("/proc/self/status").expect("a status");
        let locked = status.lines().find(|line| line.starts_with("VmLck:")).expect("its line");
        assert_ne!(locked.split_whitespace().nth(1), Some("0"), "{locked}");
    }
}

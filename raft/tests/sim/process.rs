//! A process for each run, so that two runs of a seed begin alike: libraries count what they make
//! in statics, and draw the order of their maps, of tokio's `select!` and of its wake-ups from the
//! kernel's randomness.
//!
//! That randomness, and the wall clock, are replaced in the child by a preloaded library
//! (`tests/preload/determinism.c`), built here with the C compiler that links every Rust program. Nothing of it
//! reaches the product, which runs as it is shipped.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tempfile::TempDir;

use crate::defect::Defect;
use crate::simulation::{self, Report};

const SEED: &str = "LOCKBOX_SIM_CHILD_SEED";
const DEFECT: &str = "LOCKBOX_SIM_CHILD_DEFECT";
/// Where the nodes' files and the report go. Not made by the child: a name that another run has
/// taken would cost it randomness, and it would go another way.
const DIRECTORY: &str = "LOCKBOX_SIM_CHILD_DIRECTORY";
const REPORT: &str = "report";
/// Memory, where there is a file system in it: the simulation syncs real files.
const MEMORY: &str = "/dev/shm";
/// A run takes seconds; on a machine that does much else, a minute.
const PATIENCE: Duration = Duration::from_secs(300);
/// Named in `determinism.c`, too.
const ENTROPY: &str = "LOCKBOX_SIM_ENTROPY";

/// The child's part: does nothing unless [`run`] started it.
#[test]
fn child() {
    let Ok(seed) = std::env::var(SEED) else { return };
    let defect = std::env::var(DEFECT).ok().map(|name| Defect::parse(&name).unwrap());
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    let report = simulation::run(seed.parse().unwrap(), defect, &directory);
    let report = serde_json::to_vec(&report).unwrap();
    std::fs::write(directory.join(REPORT), report).unwrap();
}

/// Runs a seed in a process of its own. What the process dies of is a violation, too.
pub(crate) fn run(seed: u64, defect: Option<Defect>) -> Report {
    let directory = if Path::new(MEMORY).is_dir() {
        TempDir::new_in(MEMORY).unwrap()
    } else {
        TempDir::new().unwrap()
    };
    let file = directory.path().join(REPORT);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["process::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(SEED, seed.to_string())
        .env(ENTROPY, seed.to_string())
        .env(DIRECTORY, directory.path())
        .env("LD_PRELOAD", determinism())
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if let Some(defect) = defect {
        command.env(DEFECT, defect.name());
    }
    let said = run_to_its_end(&mut command);
    match std::fs::read(&file) {
        Ok(report) => serde_json::from_slice(&report).unwrap(),
        Err(_none) => Report::of_a_dead_process(&said),
    }
}

/// Runs the child, and returns what it said to standard error. One that hangs is ended.
fn run_to_its_end(command: &mut Command) -> String {
    let mut child = command.spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let (said, hears) = sync_channel(1);
    let listener = std::thread::spawn(move || {
        let mut all = String::new();
        stderr.read_to_string(&mut all).unwrap();
        said.send(all).unwrap();
    });
    let heard = hears.recv_timeout(PATIENCE);
    let said = heard.unwrap_or_else(|_silent| {
        child.kill().unwrap();
        hears.recv().unwrap() + "\nit hung"
    });
    child.wait().unwrap();
    listener.join().unwrap();
    said
}

/// The library, built once for this process.
fn determinism() -> &'static Path {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_directory, library) = BUILT.get_or_init(|| {
        let directory = TempDir::new().unwrap();
        let library = directory.path().join("determinism.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/preload/determinism.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .status()
            .expect("the C compiler `cc` is needed, as for linking");
        assert!(built.success(), "determinism.c does not build");
        (directory, library)
    });
    library
}

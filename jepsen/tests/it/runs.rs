//! Whole runs: a schedule on a cluster, ctrl-C, and a harness that is killed.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lockbox_jepsen::cluster::observe::NodeView;
use lockbox_jepsen::cluster::part::Part;
use lockbox_jepsen::cluster::scratch::Scratch;
use lockbox_jepsen::moment::{now, until};
use lockbox_jepsen::nemesis::action::{Action, Means, Victims};
use lockbox_jepsen::nemesis::event::{FaultEvent, FaultLog, Outcome};
use lockbox_jepsen::nemesis::grudge::Grudge;
use lockbox_jepsen::nemesis::scene::Scene;
use lockbox_jepsen::nemesis::schedule;
use lockbox_jepsen::plan::PlannedFault;
use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{WAIT, small};
use crate::enclosed;
use crate::enclosed::enclosed;
use crate::programs::programs;

/// Keeps what it hears.
#[derive(Default)]
struct Kept {
    ended: Mutex<Vec<FaultEvent>>,
    majority: Mutex<Vec<bool>>,
    unexpected: Mutex<Vec<String>>,
}

impl FaultLog for Kept {
    fn began(&self, _: &FaultEvent) {}
    fn ended(&self, event: &FaultEvent) {
        self.ended.lock().unwrap().push(event.clone());
    }
    fn majority(&self, _: Instant, reachable: bool) {
        self.majority.lock().unwrap().push(reachable);
    }
    fn observed(&self, _: Instant, _: &[NodeView]) {}
    fn unexpected_end(&self, _: Instant, server: &str, _: &str) {
        self.unexpected.lock().unwrap().push(server.to_owned());
    }
}

fn planned(number: u32, begin_ms: u64, length_ms: u64, action: Action) -> PlannedFault {
    PlannedFault { number, begin_ms, length_ms, action, lot: 5 }
}

#[test]
fn a_schedule_is_executed_and_healed() {
    enclosed(|| {
        let small = small(false);
        let log = Arc::new(Kept::default());
        let listening = Arc::clone(&log) as Arc<dyn FaultLog>;
        let scene = Scene::new(Arc::clone(&small.cluster), listening, Arc::default());
        let cut = Action::Partition { grudge: Grudge::LeaderAlone, means: Means::Switch };
        let faults = [
            planned(1, 0, 2_000, cut),
            planned(2, 500, 1_000, Action::Pause { who: Victims::Follower }),
            planned(3, 3_000, 1_000, Action::Kill { who: Victims::All }),
        ];
        schedule::run(&scene, &faults, now(), WAIT).unwrap();
        let ended = log.ended.lock().unwrap();
        assert_eq!(ended.len(), 3);
        for event in ended.iter() {
            assert_eq!(event.outcome, Outcome::Installed, "{event:?}");
            assert!(event.end.unwrap() > event.begin);
        }
        let by_number = |number| ended.iter().find(|event| event.number == number).unwrap();
        assert!(by_number(1).majority_reachable && by_number(1).leader.is_some());
        assert!(!by_number(3).majority_reachable);
        assert_eq!(log.majority.lock().unwrap().first(), Some(&true));
        assert!(log.majority.lock().unwrap().contains(&false));
    });
}

#[test]
fn a_server_that_ends_by_itself_ends_the_run() {
    enclosed(|| {
        let small = small(false);
        let log = Arc::new(Kept::default());
        let listening = Arc::clone(&log) as Arc<dyn FaultLog>;
        let scene = Scene::new(Arc::clone(&small.cluster), listening, Arc::default());
        scene.cluster.server(Part::Node(2)).unwrap().kill().unwrap();
        // It would last for ten minutes.
        let faults = [planned(1, 600_000, 1, Action::Pause { who: Victims::One })];
        let error = schedule::run(&scene, &faults, now(), WAIT).unwrap_err();
        assert!(format!("{error:#}").starts_with("node-2 has ended by itself"), "{error:#}");
        assert_eq!(*log.unexpected.lock().unwrap(), ["node-2"]);
    });
}

struct Run {
    child: Child,
    directory: tempfile::TempDir,
}

impl Run {
    /// A real run, begun so far that its servers are there.
    fn begin() -> Option<Self> {
        if !enclosed::is_possible() {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let lockbox = programs().lockbox;
        let child = Command::new(env!("CARGO_BIN_EXE_lockbox-jepsen"))
            .args(["run", "--profile", "mutants", "--seed", "1", "--bin"])
            .arg(lockbox.parent().unwrap())
            .arg("--out")
            .arg(directory.path().join("out"))
            .arg("--scratch")
            .arg(directory.path().join("scratch"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let run = Self { child, directory };
        // The file is made when the cluster is ready.
        let ready = run.directory.path().join("out/nemesis.jsonl");
        until(WAIT, || ready.exists().then_some(())).expect("the cluster is ready in time");
        assert!(!run.servers().is_empty());
        Some(run)
    }

    fn scratch(&self) -> std::path::PathBuf {
        self.directory.path().join("scratch")
    }

    /// Processes that name the run's scratch directory, the harness's own left out.
    fn servers(&self) -> Vec<String> {
        let scratch = self.scratch().to_str().unwrap().to_owned();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|entry| {
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).replace('\0', " "))
        });
        lines.filter(|line| line.contains(&scratch) && line.contains(" serve ")).collect()
    }

    fn send(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

fn runs_below(scratch: &Path) -> usize {
    fs::read_dir(scratch).unwrap().flatten().filter(|entry| entry.path().is_dir()).count()
}

#[test]
fn ctrl_c_heals_reports_and_leaves_nothing() {
    let Some(run) = Run::begin() else { return };
    run.send(Signal::INT);
    let scratch = run.scratch();
    let Run { child, directory } = run;
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("the run was ended, or its time over"), "{text}");
    assert_eq!(runs_below(&scratch), 0);
    let events = fs::read_to_string(directory.path().join("out/nemesis.jsonl")).unwrap();
    let count = |event: &str| events.matches(&format!("\"event\":\"{event}\"")).count();
    // Skipped ones have an end alone.
    assert!(count("ended") >= count("began"), "{events}");
}

#[test]
fn what_a_killed_harness_leaves_is_cleaned_by_the_next() {
    let Some(mut run) = Run::begin() else { return };
    run.send(Signal::KILL);
    run.child.wait().unwrap();
    let gone = || run.servers().is_empty().then_some(());
    until(Duration::from_secs(10), gone).expect("the servers end with the harness");
    assert_eq!(runs_below(&run.scratch()), 1, "its files are left");
    let next = Scratch::make(&run.scratch()).unwrap();
    assert_eq!(runs_below(&run.scratch()), 1, "only the next run's are there");
    drop(next);
    assert_eq!(runs_below(&run.scratch()), 0);
}

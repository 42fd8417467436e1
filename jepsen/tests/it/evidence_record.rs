//! The record of a run that a correct cluster could have had, and a kill matrix.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use lockbox_jepsen::check::verdict::SearchBounds;
use lockbox_jepsen::digest;
use lockbox_jepsen::history::History;
use lockbox_jepsen::history::fault::{self, Edge, FaultOutcome};
use lockbox_jepsen::history::ids::{FaultId, NodeId};
use lockbox_jepsen::history::jsonl::write_line;
use lockbox_jepsen::history::log_dump::LogDump;
use lockbox_jepsen::model::synthetic::{self, synthesize};
use lockbox_jepsen::moment::now;
use lockbox_jepsen::nemesis::event::{FaultEvent, FaultFile, FaultLog, Outcome};
use lockbox_jepsen::plan::{Plan, PlannedFault, Profile};
use lockbox_jepsen::run::directory::RunDirectory;
use lockbox_jepsen::run::facts::Facts;
use lockbox_jepsen::run::recorded_faults::recorded_class;
use lockbox_jepsen::run::requirements::required;
use lockbox_jepsen::run::whole;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const SEED: u64 = 5;
pub(crate) const RUN: &str = "smoke-5";
/// Faults of the plan that the run had.
const FAULTS: usize = 3;

/// One mutant that these laws saw, and one that waits.
pub(crate) fn matrix(laws: &str) -> String {
    format!(
        r#"{{"format":1,"begun":"today","machine":"2 processors","commit":"{COMMIT}","programs":["","",""],
        "control":[{{"focus":"calm","seed":1,"judgement":"valid","ops":9,"faults":1,"cried_out":false,
        "summary":"valid"}}],"seeded":["one"],"rows":[{{"name":"one","broken":"Is.",
        "expected":["L10"],"needs":"kill","fate":{{"is":"killed","sighting":{{"laws":{laws},
        "sentence":"lost","after_ms":5,"in_force":[],"before":[]}},"seed":1,"attempts":1,
        "wall_seconds":3}}}},{{"name":"two","broken":"Is.","expected":[],"fate":{{"is":"waiting",
        "reason":"bills"}}}}]}}"#
    )
}

/// The record of a run that a correct cluster could have had.
pub(crate) fn record(run: &Path) {
    let plan = Plan::draw(SEED, Profile::Smoke);
    fs::create_dir_all(run.join("log")).unwrap();
    fs::create_dir_all(run.join("logs")).unwrap();
    let directory = RunDirectory::at(run);
    RunDirectory::write_json(&directory.plan(), &plan).unwrap();
    RunDirectory::write_json(&directory.mix(), &plan.mix()).unwrap();
    RunDirectory::write_json(&run.join("required.json"), &required(&plan)).unwrap();
    RunDirectory::write_json(&run.join("search.json"), &SearchBounds::default()).unwrap();
    let hash = |name: &str| (name.to_owned(), digest::of_bytes(name.as_bytes()));
    let programs: BTreeMap<_, _> =
        ["lockbox", "kms-sim", "lockbox-jepsen"].into_iter().map(hash).collect();
    let commit = COMMIT.to_owned();
    let facts = Facts { commit, programs, ..Facts::default() };
    facts.write(&directory.facts()).unwrap();
    fs::write(directory.bill(), "{\"billed\":0}").unwrap();
    fs::write(run.join("logs/node-1.log"), "ready\n").unwrap();
    let wanted = synthetic::Wanted {
        seed: SEED,
        ops: 600,
        workers: 6,
        secrets: 3,
        ops_per_secret: 100,
        info_of_thousand: 30,
    };
    let mut made = synthesize(&wanted).unwrap();
    made.history.header.seed = SEED;
    made.history.header.nodes = (1..=u64::from(plan.nodes)).map(NodeId).collect();
    let nemesis = FaultFile::create(&directory.nemesis(), now()).unwrap();
    for fault in &plan.faults[..FAULTS] {
        suffer(fault, &mut made.history, &nemesis);
    }
    write_history(&directory, &made.history);
    write_dump(&run.join("log/node-1.jsonl"), &made.log);
    let ticks = || 0;
    whole::judge_record(&directory, &ticks, &mut Vec::new()).unwrap();
    directory.seal_history().unwrap();
}

fn suffer(fault: &PlannedFault, history: &mut History, nemesis: &FaultFile) {
    let moment: Instant = now();
    let mut told = FaultEvent {
        number: fault.number,
        class: fault.action.class(),
        target: "node-2".to_owned(),
        begin: moment,
        end: None,
        outcome: Outcome::Installed,
        leader: None,
        majority_reachable: true,
    };
    for edge in [Edge::Begin, Edge::End] {
        history.end.order += 1;
        history.faults.push(fault::FaultEvent {
            id: FaultId(fault.number.into()),
            at: history.end,
            edge,
            class: recorded_class(fault),
            variant: serde_json::to_string(&fault.action).unwrap(),
            target: vec![NodeId(2)],
            outcome: FaultOutcome::Installed,
            leader: None,
            majority_reachable: true,
        });
        match edge {
            Edge::Begin => nemesis.began(&told),
            Edge::End => {
                told.end = Some(moment);
                nemesis.ended(&told);
            }
        }
    }
}

fn write_history(directory: &RunDirectory, history: &History) {
    let mut bytes = Vec::new();
    write_line(&mut bytes, &history.header).unwrap();
    for event in history.events() {
        write_line(&mut bytes, &event).unwrap();
    }
    fs::write(directory.growing_history(), bytes).unwrap();
}

fn write_dump(path: &Path, log: &LogDump) {
    let mut bytes = Vec::new();
    write_line(&mut bytes, &log.range).unwrap();
    for entry in &log.entries {
        write_line(&mut bytes, entry).unwrap();
    }
    fs::write(path, bytes).unwrap();
}

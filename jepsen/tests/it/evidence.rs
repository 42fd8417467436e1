//! Bundles of evidence: what is written is verified, and whatever is changed is refused by name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lockbox_jepsen::digest;
use lockbox_jepsen::evidence::{Wanted, manifest, verify, write};
use lockbox_jepsen::history::History;
use lockbox_jepsen::history::fault::{self, Edge, FaultOutcome};
use lockbox_jepsen::history::ids::{FaultId, NodeId};
use lockbox_jepsen::history::jsonl::write_line;
use lockbox_jepsen::history::log_dump::LogDump;
use lockbox_jepsen::history::op::Outcome as OpOutcome;
use lockbox_jepsen::model::synthetic::{self, synthesize};
use lockbox_jepsen::moment::now;
use lockbox_jepsen::nemesis::event::{FaultEvent, FaultFile, FaultLog, Outcome};
use lockbox_jepsen::plan::{Plan, PlannedFault, Profile};
use lockbox_jepsen::random::Random;
use lockbox_jepsen::run::directory::RunDirectory;
use lockbox_jepsen::run::facts::Facts;
use lockbox_jepsen::run::recorded_faults::recorded_class;
use lockbox_jepsen::run::requirements::{required, search_bounds};
use lockbox_jepsen::run::whole;
use lockbox_jepsen::workload::Mix;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const SEED: u64 = 5;
const RUN: &str = "smoke-5";
/// Faults of the plan that the run had.
const FAULTS: usize = 3;

/// A workplace with programs, a run that was judged, and a kill matrix.
struct Workplace(tempfile::TempDir);

impl Workplace {
    fn new() -> Self {
        let workplace = Self(tempfile::tempdir().unwrap());
        fs::create_dir(workplace.path("bin")).unwrap();
        for program in ["lockbox", "kms-sim", "lockbox-jepsen"] {
            fs::write(workplace.path("bin").join(program), program).unwrap();
        }
        fs::write(workplace.path("matrix.json"), matrix(r#"["L10","search"]"#)).unwrap();
        record(&workplace.path(RUN));
        workplace
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn wanted(&self) -> Wanted {
        Wanted {
            runs: vec![self.path(RUN)],
            matrix: Some(self.path("matrix.json")),
            bin: self.path("bin"),
            commit: COMMIT.to_owned(),
            out: self.path("bundle"),
        }
    }

    /// Writes the bundle; gives where it is.
    fn bundle(&self) -> PathBuf {
        write(&self.wanted(), &mut Vec::new()).unwrap();
        self.path("bundle")
    }

    fn refused(&self) -> String {
        let error = write(&self.wanted(), &mut Vec::new()).unwrap_err();
        assert!(!self.path("bundle").exists(), "half a bundle is left");
        let hidden = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(hidden.filter(|name| name.to_str().unwrap().starts_with('.')).count(), 0);
        format!("{error:#}")
    }
}

fn matrix(laws: &str) -> String {
    format!(
        r#"{{"format":1,"begun":"today","machine":"2 processors","commit":"abc","programs":["",""],
        "control":[{{"seed":1,"judgement":"valid","ops":9,"faults":1,"cried_out":false,
        "summary":"valid"}}],"seeded":["one"],"rows":[{{"name":"one","broken":"Is.",
        "expected":["L10"],"needs":"kill","fate":"killed","sighting":{{"laws":{laws},
        "sentence":"lost","after_ms":5,"in_force":[],"before":[]}},"seed":1,"attempts":1,
        "wall_seconds":3}},{{"name":"two","broken":"Is.","expected":[],"fate":"waiting",
        "reason":"bills"}}]}}"#
    )
}

/// The record of a run that a correct cluster could have had.
fn record(run: &Path) {
    let plan = Plan::draw(SEED, Profile::Smoke);
    let mix = Mix::draw(&mut Random::of_part(SEED, "mix"));
    fs::create_dir_all(run.join("log")).unwrap();
    fs::create_dir_all(run.join("logs")).unwrap();
    let directory = RunDirectory::at(run);
    RunDirectory::write_json(&directory.plan(), &plan).unwrap();
    RunDirectory::write_json(&directory.mix(), &mix).unwrap();
    RunDirectory::write_json(&run.join("required.json"), &required(&plan)).unwrap();
    RunDirectory::write_json(&run.join("search.json"), &search_bounds(&plan)).unwrap();
    let hash = |name: &str| (name.to_owned(), digest::of_bytes(name.as_bytes()));
    let programs: BTreeMap<_, _> = ["lockbox", "kms-sim"].into_iter().map(hash).collect();
    let facts = Facts { commit: COMMIT.to_owned(), left_out: Vec::new(), programs };
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

fn fails(bundle: &Path) -> String {
    format!("{:#}", verify(bundle, &mut Vec::new()).unwrap_err())
}

/// Changes a file of a bundle and makes the manifest fit again, as a forger would.
fn forge(bundle: &Path, file: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> String {
    let path = bundle.join(file);
    let was = fs::read(&path).unwrap();
    let forged = change(was.clone());
    assert!(forged != was, "{file} was not changed");
    fs::write(&path, forged).unwrap();
    manifest::write(bundle).unwrap();
    let reason = fails(bundle);
    fs::write(&path, was).unwrap();
    manifest::write(bundle).unwrap();
    reason
}

fn replaced(from: &'static str, to: &'static str) -> impl FnOnce(Vec<u8>) -> Vec<u8> {
    move |bytes| String::from_utf8(bytes).unwrap().replacen(from, to, 1).into_bytes()
}

fn repacked(change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> impl FnOnce(Vec<u8>) -> Vec<u8> {
    |bytes| {
        let unpacked = zstd::decode_all(bytes.as_slice()).unwrap();
        zstd::encode_all(change(unpacked).as_slice(), 3).unwrap()
    }
}

#[test]
fn a_bundle_is_written_and_verified_and_the_same_each_time() {
    let workplace = Workplace::new();
    let bundle = workplace.bundle();
    let before = fs::read(bundle.join("MANIFEST.json")).unwrap();
    let mut printed = Vec::new();
    verify(&bundle, &mut printed).unwrap();
    let printed = String::from_utf8(printed).unwrap();
    for part in [
        "manifest: ",
        "run smoke-5: seed 5, Smoke: plan redrawn; 3 faults in force",
        "judged anew by 15 laws",
        "kill matrix: of commit abc: 1 mutants killed, each by a law; none survived; 1 wait",
        COMMIT,
    ] {
        assert!(printed.contains(part), "{part} is not in {printed}");
    }
    // Verifying changed nothing, and another bundle of the same is the same.
    manifest::check(&bundle).unwrap();
    fs::rename(&bundle, workplace.path("first")).unwrap();
    let again = workplace.bundle();
    assert_eq!(fs::read(again.join("MANIFEST.json")).unwrap(), before);
    let error = write(&workplace.wanted(), &mut Vec::new()).unwrap_err().to_string();
    assert!(error.ends_with("is there already"), "{error}");
}

#[test]
fn one_byte_changed_in_any_file_is_refused_with_its_name() {
    let workplace = Workplace::new();
    let bundle = workplace.bundle();
    let (whole, _) = manifest::check(&bundle).unwrap();
    let names: Vec<&str> = whole.files.iter().map(|entry| entry.path.as_str()).collect();
    for name in [
        "BUNDLE.json",
        "kill-matrix.json",
        "runs/smoke-5/bill.json",
        "runs/smoke-5/facts.json",
        "runs/smoke-5/history.jsonl.zst",
        "runs/smoke-5/index.html",
        "runs/smoke-5/latency-raw.svg",
        "runs/smoke-5/list-append.edn.zst",
        "runs/smoke-5/log/node-1.jsonl.zst",
        "runs/smoke-5/logs/node-1.log.zst",
        "runs/smoke-5/mix.json",
        "runs/smoke-5/nemesis.jsonl.zst",
        "runs/smoke-5/plan.json",
        "runs/smoke-5/register.edn.zst",
        "runs/smoke-5/registers.tsv.zst",
        "runs/smoke-5/required.json",
        "runs/smoke-5/search.json",
        "runs/smoke-5/verdict.json",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    for name in &names {
        let path = bundle.join(name);
        let was = fs::read(&path).unwrap();
        let mut changed = was.clone();
        let place = changed.len() / 2;
        changed[place] ^= 1;
        fs::write(&path, &changed).unwrap();
        let reason = fails(&bundle);
        assert!(reason.starts_with(&format!("{name} has been changed")), "{reason}");
        fs::write(&path, was).unwrap();
    }
    verify(&bundle, &mut Vec::new()).unwrap();
}

#[test]
fn a_file_too_many_or_too_few_and_a_changed_manifest_are_refused() {
    let workplace = Workplace::new();
    let bundle = workplace.bundle();
    let log = bundle.join("runs/smoke-5/log/node-1.jsonl.zst");
    let moved = workplace.path("moved");
    fs::rename(&log, &moved).unwrap();
    assert_eq!(fails(&bundle), "runs/smoke-5/log/node-1.jsonl.zst is missing");
    std::os::unix::fs::symlink(&moved, &log).unwrap();
    assert!(fails(&bundle).contains("node-1.jsonl.zst is neither a file nor a directory"));
    fs::remove_file(&log).unwrap();
    fs::rename(&moved, &log).unwrap();
    fs::write(bundle.join("runs/smoke-5/note"), "trust me").unwrap();
    assert_eq!(fails(&bundle), "runs/smoke-5/note is not in the manifest");
    // Also when the manifest was made to fit.
    manifest::write(&bundle).unwrap();
    let reason = fails(&bundle);
    assert_eq!(reason, "run smoke-5: note is no part of a run's record");
    fs::remove_file(bundle.join("runs/smoke-5/note")).unwrap();
    manifest::write(&bundle).unwrap();

    let path = bundle.join("MANIFEST.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text} ")).unwrap();
    assert!(fails(&bundle).starts_with("MANIFEST.json has been changed"));
    fs::write(&path, text).unwrap();
    verify(&bundle, &mut Vec::new()).unwrap();
}

#[test]
fn what_does_not_follow_is_refused_though_all_hashes_fit() {
    let workplace = Workplace::new();
    let bundle = workplace.bundle();
    let expect = |reason: String, part: &str| {
        assert!(reason.contains(part), "{part} is not in {reason}");
    };
    let run = |file: &str| format!("runs/{RUN}/{file}");
    let forged = forge(&bundle, &run("verdict.json"), replaced("\"unknown\"", "\"valid\""));
    expect(forged, "it says valid, and its history is judged unknown");
    let forged = forge(&bundle, &run("verdict.json"), replaced("\"holds\"", "\"not_checked\""));
    expect(forged, "verdict.json");
    let plan = forge(&bundle, &run("plan.json"), replaced("\"nodes\": 3", "\"nodes\": 1"));
    expect(plan, "plan.json is not what seed 5 gives for a Smoke run");
    let mix = forge(&bundle, &run("mix.json"), replaced("\"registers\": ", "\"registers\": 1"));
    expect(mix, "mix.json is not what seed 5");
    let less = forge(&bundle, &run("required.json"), replaced("\"ops\": 50000", "\"ops\": 50"));
    expect(less, "required.json is not what seed 5");
    let less = forge(&bundle, &run("search.json"), replaced("\"every\": 1", "\"every\": 100"));
    expect(less, "search.json is not what seed 5");
    let other = forge(&bundle, &run("facts.json"), replaced(COMMIT, "abc"));
    expect(other, "it is a run of commit \"abc\"");
    let lines = |bytes: Vec<u8>| {
        bytes.split_inclusive(|b| *b == b'\n').skip(1).collect::<Vec<_>>().concat()
    };
    let silent = forge(&bundle, &run("nemesis.jsonl.zst"), repacked(lines));
    expect(silent, "nemesis.jsonl");
    let louder = repacked(replaced("\"outcome\":\"installed\"", "\"outcome\":\"skipped\""));
    let louder = forge(&bundle, &run("nemesis.jsonl.zst"), louder);
    expect(louder, "the history has the beginning of fault 1, installed, and nemesis.jsonl");
    let page = forge(&bundle, &run("index.html"), replaced("smoke-5: unknown", "smoke-5: valid"));
    expect(page, "index.html does not follow from the history");
    let table = forge(&bundle, &run("registers.tsv.zst"), repacked(replaced("\tr\t", "\tw\t")));
    expect(table, "registers.tsv.zst does not follow from the history");
    for (laws, part) in [("[]", "no law has seen it"), (r#"["L99"]"#, "which is no law")] {
        let forged = forge(&bundle, "kill-matrix.json", |_| matrix(laws).into_bytes());
        expect(forged, part);
    }
    verify(&bundle, &mut Vec::new()).unwrap();
}

/// A history in which an answer is out of date, under the verdict of one in which none is.
#[test]
fn a_good_verdict_over_a_bad_history_is_refused() {
    let workplace = Workplace::new();
    let bundle = workplace.bundle();
    let path = format!("runs/{RUN}/history.jsonl.zst");
    let stale = |bytes: Vec<u8>| {
        let mut history = lockbox_jepsen::history::jsonl::read(bytes.as_slice()).unwrap();
        let is_read = |op: &&mut lockbox_jepsen::history::op::Op| {
            op.asked.call.name() == "get_secret" && op.success().is_some()
        };
        let op = history.ops.iter_mut().rev().find(is_read).unwrap();
        let Some((_, OpOutcome::Ok(reply))) = &mut op.completed else { panic!("it is a success") };
        // An answer from the beginning of the log.
        reply.index = 1;
        let mut bytes = Vec::new();
        write_line(&mut bytes, &history.header).unwrap();
        for event in history.events() {
            write_line(&mut bytes, &event).unwrap();
        }
        bytes
    };
    let reason = forge(&bundle, &path, repacked(stale));
    assert!(reason.contains("its history is judged invalid"), "{reason}");
    assert!(reason.contains("L1: stored is: holds; judged anew: violated"), "{reason}");

    // Nor does such a run become a bundle.
    fs::write(
        workplace.path(RUN).join("history.jsonl.zst"),
        repacked(stale)(fs::read(bundle.join(&path)).unwrap()),
    )
    .unwrap();
    fs::rename(&bundle, workplace.path("first")).unwrap();
    let reason = workplace.refused();
    assert!(reason.contains("run smoke-5: verdict.json does not follow"), "{reason}");
}

#[test]
fn what_is_not_whole_or_of_other_programs_becomes_no_bundle() {
    let workplace = Workplace::new();
    fs::write(workplace.path("bin").join("lockbox"), "another").unwrap();
    assert!(workplace.refused().contains("run smoke-5: its lockbox has SHA-256"));
    fs::write(workplace.path("bin").join("lockbox"), "lockbox").unwrap();
    fs::write(workplace.path("matrix.json"), matrix("[]")).unwrap();
    assert!(workplace.refused().contains("one is called killed, and no law has seen it"));
    fs::write(workplace.path("matrix.json"), matrix(r#"["L1"]"#)).unwrap();
    let short = Wanted { commit: "0123abc".to_owned(), ..workplace.wanted() };
    let error = write(&short, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("is not the full id of a commit"), "{error}");
    let nemesis = workplace.path(RUN).join("nemesis.jsonl");
    let told = fs::read(&nemesis).unwrap();
    fs::remove_file(&nemesis).unwrap();
    assert!(workplace.refused().contains("nemesis.jsonl"));
    fs::write(&nemesis, told).unwrap();
    fs::write(workplace.path(RUN).join("history.jsonl"), "").unwrap();
    assert!(workplace.refused().contains("is not finished"));
    fs::remove_file(workplace.path(RUN).join("history.jsonl")).unwrap();
    workplace.bundle();
}

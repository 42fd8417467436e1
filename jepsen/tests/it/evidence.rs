//! Bundles of evidence: what is written is verified, and whatever is changed is refused by name.

use std::fs;
use std::path::{Path, PathBuf};

use lockbox_jepsen::evidence::{Wanted, manifest, verify, write};
use lockbox_jepsen::history::jsonl::{read, write_line};
use lockbox_jepsen::history::op::{Op, Outcome};

use crate::evidence_record::{COMMIT, RUN, matrix, record};

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
        "judged anew by 18 laws",
        "kill matrix: of this commit: 1 of 1 mutants killed, each by a law expected of it",
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
    expect(silent, "fault 1: begun, installed in the history, and not begun, installed in");
    let other = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        let (before, after) = text.rsplit_once("\"installed\"").unwrap();
        format!("{before}\"skipped\"{after}").into_bytes()
    };
    let other = forge(&bundle, &run("nemesis.jsonl.zst"), repacked(other));
    expect(other, "fault 3: begun, installed in the history, and begun, skipped in nemesis.jsonl");
    let apart = replaced("\"majority_reachable\":true", "\"majority_reachable\":false");
    let apart = forge(&bundle, &run("nemesis.jsonl.zst"), repacked(apart));
    expect(apart, "fault 1: (None, Some(true)) is its leader and majority in the history, and");
    let page = forge(&bundle, &run("index.html"), replaced("smoke-5: unknown", "smoke-5: valid"));
    expect(page, "index.html does not follow from the history");
    let table = forge(&bundle, &run("registers.tsv.zst"), repacked(replaced("\tr\t", "\tw\t")));
    expect(table, "registers.tsv.zst does not follow from the history");
    for (laws, part) in [
        ("[]", "no law has seen it"),
        (r#"["L99"]"#, "which is no law"),
        (r#"["L5"]"#, "none of the expected laws has seen it"),
    ] {
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
        let mut history = read(bytes.as_slice()).unwrap();
        let is_read = |op: &&mut Op| op.asked.call.name() == "get_secret" && op.success().is_some();
        let op = history.ops.iter_mut().rev().find(is_read).unwrap();
        let Some((_, Outcome::Ok(reply))) = &mut op.completed else { panic!("it is a success") };
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
    let other = matrix(r#"["L10"]"#).replace(COMMIT, "abc");
    fs::write(workplace.path("matrix.json"), other).unwrap();
    assert!(workplace.refused().contains("it is of commit \"abc\", and the bundle is of"));
    fs::write(workplace.path("matrix.json"), matrix(r#"["L10"]"#)).unwrap();
    let short = Wanted { commit: "0123abc".to_owned(), matrix: None, ..workplace.wanted() };
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

use std::collections::BTreeMap;
use std::sync::LazyLock;

use lockbox_jepsen::check::coverage::Required;
use lockbox_jepsen::check::laws::{Finding, Law};
use lockbox_jepsen::check::verdict::{SearchBounds, judge};
use lockbox_jepsen::history::History;
use lockbox_jepsen::history::event::Header;
use lockbox_jepsen::history::ids::{OpId, ProcessId};
use lockbox_jepsen::history::op::{Failure, Op, Outcome};
use lockbox_jepsen::history::{answer::Code, call::Call};
use lockbox_jepsen::report::input::{Findings, Input, Violation};
use lockbox_jepsen::report::of_verdict::Timings;
use lockbox_jepsen::report::{File, render};

use super::synthetic::{END_NS, MS, Random, Run, SECOND, Wish, stamp};
use super::well_formed::{elements, outline};

static BROKEN: LazyLock<Run> =
    LazyLock::new(|| Run::make(Wish { seed: 7, ops: 6_000, broken: true }));
static FILES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| files(&BROKEN.input()));

fn files(input: &Input<'_>) -> BTreeMap<String, String> {
    render(input).into_iter().map(|File { name, content }| (name, content)).collect()
}

#[test]
fn the_pictures_hold_what_a_reader_looks_for() {
    let names: Vec<&str> = FILES.keys().map(String::as_str).collect();
    insta::assert_snapshot!("files", names.join("\n"));
    for name in ["latency-raw", "raft-lanes", "rate", "window-1"] {
        insta::assert_snapshot!(name, outline(&FILES[&format!("{name}.svg")]));
    }
}

#[test]
fn every_file_is_well_formed_and_needs_nothing_else() {
    for (name, content) in FILES.iter() {
        let found = elements(content).unwrap_or_else(|error| panic!("{name}: {error}"));
        for element in found {
            let outside = |value: &str| !value.starts_with('#') && !value.starts_with("url(#");
            for attribute in ["href", "src", "fill"] {
                let wanted = element.attributes.get(attribute);
                assert!(!wanted.is_some_and(|value| outside(value)), "{name}: {element:?}");
            }
            assert!(!["script", "link", "iframe", "image"].contains(&element.tag.as_str()));
        }
    }
}

#[test]
fn references_lead_to_one_place() {
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    let mut wanted = Vec::new();
    for element in elements(&FILES["index.html"]).unwrap() {
        for (name, value) in &element.attributes {
            let inner = value.strip_prefix("url(").and_then(|rest| rest.strip_suffix(')'));
            match (name.as_str(), inner.unwrap_or(value).strip_prefix('#')) {
                ("id", _) => *ids.entry(value.clone()).or_default() += 1,
                (_, Some(id)) => wanted.push(id.to_owned()),
                (_, None) => {}
            }
        }
    }
    assert!(ids.values().all(|&count| count == 1), "{ids:?}");
    assert!(wanted.len() > 10);
    for id in wanted {
        assert!(ids.contains_key(&id), "nothing is called {id}");
    }
}

#[test]
fn one_run_makes_the_same_bytes_again_and_another_run_makes_others() {
    let again = Run::make(Wish { seed: 7, ops: 6_000, broken: true });
    assert_eq!(files(&again.input()), *FILES);
    let other = Run::make(Wish { seed: 8, ops: 6_000, broken: true });
    assert_ne!(files(&other.input())["latency-raw.svg"], FILES["latency-raw.svg"]);
}

#[test]
fn a_planted_violation_is_told_and_drawn() {
    let page = &FILES["index.html"];
    let [stale, late, _] = BROKEN.findings.violations.as_slice() else { panic!("three planted") };
    for violation in [stale, late] {
        assert!(page.contains(&violation.sentence));
    }
    for (violation, file) in [(stale, "window-1.svg"), (late, "window-2.svg")] {
        let picture = &FILES[file];
        let drawn = elements(picture).unwrap();
        let of_class = |class: &str| {
            drawn.iter().filter(|element| element.classes().any(|found| found == class)).count()
        };
        // In the close view and in the wide one.
        assert_eq!((of_class("culprit"), of_class("arrow")), (2 * 2 + 1, 2), "{file}");
        for op in &violation.ops {
            assert!(picture.contains(&format!("#{op} ")), "{file} says nothing of #{op}");
        }
    }
    assert!(!FILES["window-1.svg"].contains(" cut<"));
    assert!(FILES["window-2.svg"].contains(" s cut<"), "forty seconds are to be left out");
}

#[test]
fn faults_that_did_not_take_effect_are_visible() {
    let page = &FILES["index.html"];
    for words in [
        "no loop device on this machine",
        "the counter page did not move",
        "this machine can&#39;t: fsfreeze needs a block device",
    ] {
        assert!(page.contains(words), "{words}");
    }
    // A skipped fault has no lane, an uncertain one has.
    assert!(!FILES["rate.svg"].contains("disk full"));
    assert!(FILES["rate.svg"].contains("fsync slow"));
}

#[test]
fn a_verdict_is_shown_with_every_law_and_the_search() {
    let [stale, ..] = BROKEN.findings.violations.as_slice() else { panic!("planted") };
    let mut verdict =
        judge(&with_ops(Vec::new()), Ok(None), &Required::default(), SearchBounds::default());
    verdict.laws[4].finding =
        Finding::Violated { ops: stale.ops.clone(), sentence: "too old".to_owned() };
    verdict.laws[4].counts = vec![("pairs".to_owned(), 1_234), ("secrets".to_owned(), 5)];
    let secret = BROKEN.history.op(stale.ops[1]).secret().unwrap().clone();
    verdict.search.illegal.push((secret, stale.ops[1]));
    let laws = [(Law::L5, 1.25)].into();
    let timings = Timings { laws, search: Some(2.5), total: 4.0 };
    let findings = Findings::of(&verdict, &timings, Vec::new());
    let files = files(&Input { findings: &findings, ..BROKEN.input() });
    let rows: Vec<&str> = files["index.html"].lines().filter(|l| l.contains("<tr>")).collect();
    let row = |name: &str| {
        let cell = format!(">{name}</td>");
        rows.iter().find(|row| row.contains(&cell)).unwrap_or_else(|| panic!("no {name}"))
    };
    for law in Law::ALL {
        let title = law.title().replace('\'', "&#39;");
        assert!(row(&law.to_string()).contains(&title), "{law}");
    }
    for words in ["✗ violated", "1,234", "pairs, secrets 5", "1.25", "too old"] {
        assert!(row("L5").contains(words), "{words}");
    }
    assert!(row("search").contains("✗ violated") && row("search").contains("2.50"));
    let drawn: Vec<&str> =
        files.keys().filter(|name| name.starts_with("window")).map(String::as_str).collect();
    assert_eq!(drawn, ["window-1.svg", "window-2.svg"]);
    assert!(!files["window-2.svg"].contains("class=\"arrow\""), "the search names one operation");
}

#[test]
fn what_a_server_says_never_becomes_markup() {
    let bad = "</svg></title><script>alert('\"]]>--><!--\u{0}\u{1b}[31m";
    let mut run = Run::make(Wish { seed: 3, ops: 600, broken: true });
    for op in run.history.ops.iter_mut().step_by(2) {
        let failure = Failure { code: Code::Internal, message: bad.to_owned() };
        op.completed = op.completed.take().map(|(at, _)| (at, Outcome::Unexpected(failure)));
        op.asked.call = Call::GetPayload(lockbox_jepsen::history::call::GetPayload {
            secret: bad.into(),
            version: Some(bad.into()),
        });
    }
    for fault in &mut run.history.faults {
        fault.variant = bad.to_owned();
    }
    run.facts.name = bad.to_owned();
    run.findings.reasons.push(bad.to_owned());
    run.findings.laws[0].sentence = bad.to_owned();
    run.findings.coverage[0].what = bad.to_owned();
    run.findings.missing_faults[0].why = bad.to_owned();
    let on_all = |law: &str, op| Violation {
        law: law.to_owned(),
        sentence: bad.to_owned(),
        ops: vec![OpId(op), OpId(op + 2)],
        secret: Some(bad.into()),
        at_ns: None,
    };
    run.findings.violations.insert(0, on_all(bad, 0));
    for (name, content) in files(&run.input()) {
        let found = elements(&content).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(found.iter().all(|element| element.tag != "script"), "{name}");
        assert!(!content.contains(['\u{0}', '\u{1b}']), "{name}");
    }
}

#[test]
fn an_empty_run_has_a_report_too() {
    let findings = Findings {
        laws: Vec::new(),
        violations: Vec::new(),
        coverage: Vec::new(),
        missing_faults: Vec::new(),
        ..BROKEN.findings.clone()
    };
    let empty = with_ops(Vec::new());
    let history = History {
        header: Header { nodes: Vec::new(), ..empty.header },
        faults: Vec::new(),
        samples: Vec::new(),
        phases: Vec::new(),
        end: stamp(0),
        ..empty
    };
    let input = Input { history: &history, findings: &findings, ..BROKEN.input() };
    for (name, content) in files(&input) {
        elements(&content).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!content.contains("NaN") && !content.contains("inf\""), "{name}");
    }
}

/// The broken run with other operations.
fn with_ops(ops: Vec<Op>) -> History {
    History { ops, ..BROKEN.history.clone() }
}

/// Copies of one operation with other times, all on one secret.
fn many(count: u64, times: impl Fn(&mut Random) -> (u64, u64)) -> Vec<Op> {
    let mut random = Random(5);
    let model = BROKEN.history.ops.iter().find(|op| op.success().is_some()).unwrap();
    let mut ops: Vec<Op> = (0..count)
        .map(|_| {
            let (from_ns, lasts) = times(&mut random);
            let mut op = model.clone();
            op.asked.process = ProcessId(random.below(5));
            op.invoked = stamp(from_ns);
            let outcome = op.completed.take().unwrap().1;
            op.completed = Some((stamp(from_ns + lasts), outcome));
            op
        })
        .collect();
    ops.sort_by_key(|op| op.invoked);
    for (place, op) in ops.iter_mut().enumerate() {
        op.id = OpId(place as u64);
    }
    ops
}

#[test]
fn any_number_of_operations_all_over_the_plot_makes_less_than_3_mb() {
    let ops = many(400_000, |random| {
        (random.below(END_NS), (10_f64.powf(random.part() * 5.0) * MS as f64) as u64)
    });
    let mut findings = BROKEN.findings.clone();
    findings.violations.clear();
    let input = Input { history: &with_ops(ops), findings: &findings, ..BROKEN.input() };
    let files = files(&input);
    let latency = &files["latency-raw.svg"];
    assert!(latency.len() < 3_000_000, "{} bytes", latency.len());
    assert!(latency.contains("400,000 operations in "), "it must say what it joined");
}

#[test]
fn a_window_draws_ten_thousand_bars_at_most_and_says_so() {
    let ops = many(30_000, |random| (50 * SECOND + random.below(SECOND), MS));
    let mut findings = BROKEN.findings.clone();
    findings.violations = vec![Violation {
        law: "L1".to_owned(),
        sentence: "made up".to_owned(),
        ops: vec![OpId(15_000), OpId(15_500)],
        secret: None,
        at_ns: None,
    }];
    let input = Input { history: &with_ops(ops), findings: &findings, ..BROKEN.input() };
    let picture = &files(&input)["window-1.svg"];
    let bars = |culprit| {
        let drawn = elements(picture).unwrap().into_iter().filter(|element| element.tag == "rect");
        drawn
            .filter(|e| e.classes().any(|class| class == if culprit { "culprit" } else { "op" }))
            .count()
    };
    // A legend and the close view add to those of the wide view.
    assert!((10_000..20_100).contains(&bars(false)), "{}", bars(false));
    assert_eq!(bars(true), 5);
    assert!(picture.contains("leaves out 20,000 operations"));
}

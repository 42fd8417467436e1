//! What outside checkers get.

use std::collections::BTreeSet;

use lockbox_jepsen::history::edn::{write_list_append, write_register};
use lockbox_jepsen::history::fault::{Edge, FaultClass, FaultEvent, FaultOutcome};
use lockbox_jepsen::history::ids::{FaultId, NodeId};
use lockbox_jepsen::history::porcupine::write_table;
use lockbox_jepsen::history::{History, jsonl};
use lockbox_jepsen::model::synthetic::{Wanted, synthesize};

fn history() -> History {
    let wanted = Wanted {
        seed: 11,
        ops: 400,
        workers: 5,
        secrets: 2,
        ops_per_secret: 100,
        info_of_thousand: 60,
    };
    synthesize(&wanted).unwrap().history
}

fn text(write: impl Fn(&History, &mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut bytes = Vec::new();
    write(&history(), &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, rest) = line.split_once(&format!(":{name} ")).unwrap();
    rest.split([',', '}']).next().unwrap()
}

/// Indexes are dense, each process has one operation open, and none begins after `:info`.
fn assert_is_a_jepsen_history(text: &str) {
    let (mut open, mut dead) = (BTreeSet::new(), BTreeSet::new());
    for (index, line) in text.lines().enumerate() {
        assert_eq!(field(line, "index"), index.to_string());
        let process = field(line, "process").to_owned();
        if process == ":nemesis" {
            assert_eq!(field(line, "type"), ":info");
            continue;
        }
        match field(line, "type") {
            ":invoke" => {
                assert!(!dead.contains(&process), "{line}");
                assert!(open.insert(process), "{line}");
            }
            ":ok" => assert!(open.remove(&process), "{line}"),
            ":info" => {
                assert!(open.remove(&process), "{line}");
                dead.insert(process);
            }
            other => panic!("{other}"),
        }
    }
    assert!(!dead.is_empty() && text.lines().count() > 100);
}

#[test]
fn knossos_gets_registers() {
    let text = text(write_register);
    assert_is_a_jepsen_history(&text);
    for part in [":f :write, :value [", ":f :read, :value [0 nil]", ":f :cas, :value [0 ["] {
        assert!(text.contains(part), "{part}");
    }
}

/// Jepsen takes a line of the nemesis and its next one for what was asked and what came of it.
#[test]
fn the_nemesis_speaks_in_pairs() {
    let mut history = history();
    for (id, class, edge) in [
        (1, FaultClass::ClockStep, Edge::Begin),
        (2, FaultClass::Kill, Edge::Begin),
        (1, FaultClass::ClockStep, Edge::End),
    ] {
        history.end.order += 1;
        history.faults.push(FaultEvent {
            id: FaultId(id),
            at: history.end,
            edge,
            class,
            variant: String::new(),
            target: vec![NodeId(2), NodeId(3)],
            outcome: FaultOutcome::Installed,
            leader: None,
            majority_reachable: true,
        });
    }
    type Project = fn(&History, &mut Vec<u8>) -> std::io::Result<()>;
    let projections: [Project; 2] = [write_register, write_list_append];
    for write in projections {
        let mut bytes = Vec::new();
        write(&history, &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_is_a_jepsen_history(&text);
        let nemesis = text.lines().filter(|line| line.contains(":process :nemesis"));
        let said: Vec<&str> = nemesis.map(|line| line.split_once(":f ").unwrap().1).collect();
        let pair =
            |f: &str| [format!("{f}, :value [2 3]}}"), format!("{f}, :value [:installed [2 3]]}}")];
        let expected =
            [pair(":start-clock-step"), pair(":start-kill"), pair(":stop-clock-step")].concat();
        assert_eq!(said, expected);
    }
}

#[test]
fn elle_gets_appends_and_whole_lists() {
    let text = text(write_list_append);
    assert_is_a_jepsen_history(&text);
    assert!(text.contains(":f :txn, :value [[:append 0 1]]"));
    assert!(text.contains(":type :invoke, :f :txn, :value [[:r 0 nil]]"));
    assert!(text.contains("[[:r 0 [1 2"), "a list is shown from its oldest version on");
    // Elle takes no element twice.
    let mut appended = BTreeSet::new();
    for line in text.lines().filter(|line| line.contains(":type :invoke")) {
        if let Some((_, append)) = line.split_once(":append") {
            assert!(appended.insert(append), "{line}");
        }
    }
    assert!(appended.len() > 10);
}

#[test]
fn porcupine_gets_a_table() {
    let text = text(write_table);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("client\tkey\twhat\tversion\tfrom\tcall\treturn"));
    for line in lines {
        let fields: Vec<&str> = line.split('\t').collect();
        assert_eq!(fields.len(), 7, "{line}");
        let call: u64 = fields[5].parse().unwrap();
        assert!(fields[6] == "inf" || fields[6].parse::<u64>().unwrap() > call, "{line}");
        assert!(["r", "w", "c"].contains(&fields[2]), "{line}");
    }
    assert!(text.contains("\tinf\n"));
}

#[test]
fn a_whole_history_survives_its_file() {
    let history = history();
    let mut bytes = Vec::new();
    jsonl::write_line(&mut bytes, &history.header).unwrap();
    for event in history.events() {
        jsonl::write_line(&mut bytes, &event).unwrap();
    }
    assert_eq!(jsonl::read(bytes.as_slice()).unwrap(), history);
}

//! `scripts/bill.py`, which counts the books of a run without the law: what it takes and what not.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// It held, but nobody asked ten thousand times.
const TOO_FEW: i32 = 2;
const UNEXPLAINED: i32 = 1;

/// A run with two keys: a read with each, one read that was refused later, and one whose node and
/// whose KMS were killed before they could say anything.
struct Books {
    events: Vec<Value>,
    lines: Vec<Value>,
}

impl Books {
    fn new() -> Self {
        let mut books = Self { events: vec![json!({"format": 1})], lines: Vec::new() };
        for (op, key) in [(0, "k1"), (1, "k2")] {
            let secret = format!("s-{key}");
            let answer = json!({"is": "secret", "id": secret, "kms_key": key});
            books.op(op, &json!({"f": "get_secret", "secret": secret}), &ok(&answer));
            let answer = json!({"is": "payload"});
            books.op(op + 2, &json!({"f": "get_payload", "secret": secret}), &ok(&answer));
            books.all(key, op + 2);
        }
        let refused = ok(&json!({"is": "refused", "code": "FAILED_PRECONDITION"}));
        books.op(4, &json!({"f": "add_version", "secret": "s-k1"}), &refused);
        books.all("k1", 4);
        let lost = json!({"type": "info", "code": "UNAVAILABLE"});
        books.op(5, &json!({"f": "get_payload", "secret": "s-k2"}), &lost);
        books.told("kms_billed", "k2", 5);
        books.bill("k1", 2);
        books.bill("k2", 2);
        books
    }

    fn op(&mut self, op: u64, call: &Value, outcome: &Value) {
        let asked = json!({"call": call});
        self.events.push(json!({"event": "invoke", "op": op, "asked": asked}));
        self.events.push(json!({"event": "complete", "op": op, "outcome": outcome}));
    }

    /// The request that an operation makes is named after it.
    fn told(&mut self, ledger: &str, key: &str, op: u64) {
        let (request, used) = (format!("r{op}"), json!({"key": key, "operation": "Decrypt"}));
        self.events.push(json!({
            "event": "ledger", "ledger": ledger, "request": request, "op": op, "used": used
        }));
    }

    fn all(&mut self, key: &str, op: u64) {
        for ledger in ["node_calls", "kms_served", "kms_billed"] {
            self.told(ledger, key, op);
        }
    }

    fn bill(&mut self, key: &str, billed: u64) {
        self.lines.push(json!({
            "key_id": key, "operation": "Decrypt", "billed": billed, "not_billed": 1
        }));
    }

    /// Takes out what a ledger says of the request of an operation.
    fn untell(&mut self, ledger: &str, op: u64) {
        self.events.retain(|event| event["ledger"] != ledger || event["op"] != op);
    }

    /// What the script exits with, and what it prints.
    fn compared(&self) -> (i32, String) {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| fs::write(directory.path().join(name), text);
        let lines: Vec<_> = self.events.iter().map(|event| format!("{event}\n")).collect();
        write("history.jsonl", lines.concat()).unwrap();
        write("bill.json", json!({"lines": self.lines}).to_string()).unwrap();
        let law = json!({"law": "L11", "finding": {"is": "holds"}, "counts": []});
        write("verdict.json", json!({"laws": [law]}).to_string()).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/bill.py");
        let output = Command::new("python3")
            .arg(script)
            .arg("books")
            .arg(directory.path())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }
}

fn ok(answer: &Value) -> Value {
    json!({"type": "ok", "answer": answer})
}

fn is_unexplained(books: &Books) {
    let (code, text) = books.compared();
    assert_eq!(code, UNEXPLAINED, "{text}");
    assert!(!text.contains(" 0  unexplained"), "{text}");
}

#[test]
fn books_that_agree_are_explained_unit_by_unit() {
    let (code, text) = Books::new().compared();
    assert_eq!(code, TOO_FEW, "{text}");
    let lines =
        [" 4  billed", " 2  acknowledged", " 1  unknown", " 1  refused later", " 0  unexplained"];
    for line in lines {
        assert!(text.contains(line), "{line:?}: {text}");
    }
}

#[test]
fn the_printed_bill_is_compared_by_key() {
    let mut books = Books::new();
    books.lines.clear();
    books.bill("k1", 3);
    books.bill("k2", 1);
    is_unexplained(&books);
}

#[test]
fn a_unit_on_another_key_is_unexplained_in_the_ledger_too() {
    let mut books = Books::new();
    books.untell("kms_billed", 3);
    books.told("kms_billed", "k1", 3);
    books.lines.clear();
    books.bill("k1", 3);
    books.bill("k2", 1);
    is_unexplained(&books);
}

#[test]
fn what_was_refused_later_was_told_and_served() {
    for ledger in ["node_calls", "kms_served"] {
        let mut books = Books::new();
        books.untell(ledger, 4);
        is_unexplained(&books);
    }
}

#[test]
fn one_unit_too_many_does_not_make_up_for_one_that_is_missing() {
    let mut books = Books::new();
    books.untell("kms_billed", 2);
    books.told("kms_billed", "k1", 4);
    is_unexplained(&books);
}

#[test]
fn what_a_client_has_was_paid_for() {
    let mut books = Books::new();
    for ledger in ["node_calls", "kms_served", "kms_billed"] {
        books.untell(ledger, 2);
    }
    books.lines.clear();
    books.bill("k1", 1);
    books.bill("k2", 2);
    is_unexplained(&books);
}

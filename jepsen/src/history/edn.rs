//! Projections of a history in Jepsen's EDN, one map for each line, for outside checkers.
//!
//! Knossos reads the register of each secret (`independent` keys, `cas-register` model), Elle the
//! list of versions of each secret (list-append). Both get what certainly or perhaps happened;
//! refusals and failures had no effect and are left out.

use std::io::{self, Write};

use super::answer::Answer;
use super::call::Call;
use super::fault::{Edge, FaultEvent, FaultOutcome};
use super::joined::join_repeats;
use super::makers::Makers;
use super::op::Stamp;
use super::recorded::History;
use super::register::{Numbers, RegisterAction, register};

/// One line that waits for its index.
struct Line {
    at: Stamp,
    process: String,
    kind: &'static str,
    f: String,
    value: String,
}

/// Writes the register of each secret: `:read`, `:write` and `:cas` of version numbers.
///
/// # Errors
/// What the writer says.
pub fn write_register(history: &History, to: &mut impl Write) -> io::Result<()> {
    let makers = Makers::find(history);
    let mut lines = Vec::new();
    for op in register(history, &makers) {
        let key = op.key;
        let (f, asked, answered) = match op.action {
            RegisterAction::Read(version) => ("read", "nil".to_owned(), version.to_string()),
            RegisterAction::Write(version) => ("write", version.to_string(), version.to_string()),
            RegisterAction::Swap { from, to } => {
                ("cas", format!("[{from} {to}]"), format!("[{from} {to}]"))
            }
        };
        let process = op.process.to_string();
        let line = |at, kind, value: &str| Line {
            at,
            process: process.clone(),
            kind,
            f: format!(":{f}"),
            value: format!("[{key} {value}]"),
        };
        lines.push(line(op.invoked, "invoke", &asked));
        match op.returned {
            Some(at) => lines.push(line(at, "ok", &answered)),
            None => lines.push(line(end_of(history, op.op), "info", &asked)),
        }
    }
    write_lines(history, lines, to)
}

/// Writes the versions of each secret as appends and reads of one list.
///
/// # Errors
/// What the writer says.
pub fn write_list_append(history: &History, to: &mut impl Write) -> io::Result<()> {
    let makers = Makers::find(history);
    let mut numbers = Numbers::default();
    let mut lines = Vec::new();
    for joined in join_repeats(history) {
        let first = joined.first();
        let Some(secret) = first.secret() else { continue };
        let answer = joined.success.map(|(_, reply)| &reply.answer);
        let (asked, answered) = match (&first.asked.call, answer) {
            (Call::CreateSecret(call), Some(_)) if call.first.is_some() => {
                let version = numbers.made(&makers, &joined, secret);
                let append = format!("[[:append {} {version}]]", numbers.key(secret));
                (append.clone(), append)
            }
            (Call::AddVersion(_), _) => {
                let version = numbers.made(&makers, &joined, secret);
                let append = format!("[[:append {} {version}]]", numbers.key(secret));
                (append.clone(), append)
            }
            (Call::ListVersions(_), Some(Answer::Versions(list))) if list.complete => {
                let key = numbers.key(secret);
                let oldest_first = list.versions.iter().rev();
                let shown: Vec<String> = oldest_first
                    .map(|version| numbers.version(secret, &version.id).to_string())
                    .collect();
                (format!("[[:r {key} nil]]"), format!("[[:r {key} [{}]]]", shown.join(" ")))
            }
            _ => continue,
        };
        let process = first.asked.process.to_string();
        let line = |at, kind, value: String| Line {
            at,
            process: process.clone(),
            kind,
            f: ":txn".to_owned(),
            value,
        };
        lines.push(line(first.invoked, "invoke", asked.clone()));
        match joined.success {
            Some((at, _)) => lines.push(line(at, "ok", answered)),
            None => lines.push(line(end_of(history, first.id), "info", asked)),
        }
    }
    write_lines(history, lines, to)
}

/// Where an operation was given up; the end of the run if it never was.
fn end_of(history: &History, op: super::ids::OpId) -> Stamp {
    history.op(op).completed.as_ref().map_or(history.end, |(at, _)| *at)
}

/// What the nemesis did at one moment, as the pair that Jepsen expects: what was asked, and what
/// came of it, both `:info`. Both are of that moment, for faults overlap, and Jepsen pairs each
/// line of the nemesis with the next one.
fn fault_lines(event: &FaultEvent) -> [Line; 2] {
    let edge = match event.edge {
        Edge::Begin => "start",
        Edge::End => "stop",
    };
    let outcome = match event.outcome {
        FaultOutcome::Installed => "installed",
        FaultOutcome::Skipped { .. } => "skipped",
        FaultOutcome::Indeterminate { .. } => "indeterminate",
    };
    let target: Vec<String> = event.target.iter().map(ToString::to_string).collect();
    let line = |value| Line {
        at: event.at,
        process: ":nemesis".to_owned(),
        kind: "info",
        f: format!(":{edge}-{}", in_kebab_case(&format!("{:?}", event.class))),
        value,
    };
    let target = target.join(" ");
    [line(format!("[{target}]")), line(format!("[:{outcome} [{target}]]"))]
}

fn in_kebab_case(name: &str) -> String {
    let mut kebab = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab
}

fn write_lines(history: &History, mut lines: Vec<Line>, to: &mut impl Write) -> io::Result<()> {
    lines.extend(history.faults.iter().flat_map(fault_lines));
    lines.sort_by_key(|line| line.at.order);
    for (index, line) in lines.iter().enumerate() {
        writeln!(
            to,
            "{{:index {index}, :time {}, :process {}, :type :{}, :f {}, :value {}}}",
            line.at.ns, line.process, line.kind, line.f, line.value
        )?;
    }
    Ok(())
}

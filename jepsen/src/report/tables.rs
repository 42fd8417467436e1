//! The tables of the page.

use std::fmt::Display;

use super::fault_spans::class_name;
use super::input::{Findings, Input, LawState};
use super::markup::Markup;
use super::quantity::{Count, Duration, quantile};
use super::tally::{FaultTally, calls, faults};

/// A cell.
enum Cell {
    Name(String),
    Number(String),
    Text(String),
    State { words: &'static str, class: &'static str },
}

fn table(page: &mut Markup, heads: &[(&str, bool)], rows: Vec<Vec<Cell>>) {
    page.open("div", &[("class", &"scroll")]);
    page.open("table", &[]);
    page.open("thead", &[]);
    page.open("tr", &[]);
    for (head, number) in heads {
        page.element("th", &[("class", &if *number { "number" } else { "" })], head);
    }
    page.close();
    page.close();
    page.open("tbody", &[]);
    for row in rows {
        page.open("tr", &[]);
        for cell in row {
            match cell {
                Cell::Name(text) => page.element("td", &[("class", &"name")], text),
                Cell::Number(text) => page.element("td", &[("class", &"number")], text),
                Cell::Text(text) => page.element("td", &[("class", &"wide")], text),
                Cell::State { words, class } => {
                    page.open("td", &[]);
                    let class = format!("state-word {class}");
                    page.element("span", &[("class", &class)], words);
                    page.close();
                }
            }
        }
        page.close();
    }
    page.close();
    page.close();
    page.close();
}

fn number(value: impl Display) -> Cell {
    Cell::Number(value.to_string())
}

/// The laws: what they demand and whether they held.
pub(super) fn laws(page: &mut Markup, findings: &Findings) {
    let rows = findings.laws.iter().map(|law| {
        let (words, class) = match law.state {
            LawState::Holds => ("✓ holds", ""),
            LawState::Violated => ("✗ violated", "bad"),
            LawState::Unknown => ("? unknown", "doubt"),
            LawState::NotJudged => ("– not judged", "none"),
        };
        vec![
            Cell::Name(law.law.clone()),
            Cell::Text(law.demands.clone()),
            Cell::State { words, class },
            number(law.counts.first().map_or(Count(0), |(_, count)| Count(*count))),
            Cell::Text(counted_what(&law.counts)),
            number(law.seconds.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.2}"))),
            Cell::Text(law.sentence.clone()),
        ]
    });
    let heads = [
        ("Law", false),
        ("Demands", false),
        ("State", false),
        ("Counted", true),
        ("of", false),
        ("Seconds", true),
        ("Found", false),
    ];
    table(page, &heads, rows.collect());
}

/// What the first number counts, and the other numbers with it.
fn counted_what(counts: &[(String, u64)]) -> String {
    let mut words = counts.first().map_or_else(String::new, |(what, _)| what.clone());
    for (what, count) in counts.iter().skip(1) {
        words.push_str(&format!(", {what} {}", Count(*count)));
    }
    words
}

/// What the run had to reach.
pub(super) fn coverage(page: &mut Markup, findings: &Findings) {
    let rows = findings.coverage.iter().map(|goal| {
        let (words, class) =
            if goal.is_reached() { ("✓ reached", "") } else { ("? missed", "doubt") };
        vec![
            Cell::Name(goal.what.clone()),
            number(Count(goal.required)),
            number(Count(goal.reached)),
            Cell::State { words, class },
        ]
    });
    let heads = [("Goal", false), ("At least", true), ("Reached", true), ("State", false)];
    table(page, &heads, rows.collect());
}

/// Faults by class.
pub(super) fn fault_classes(page: &mut Markup, input: &Input<'_>) {
    let counted = |map: &std::collections::BTreeMap<String, u64>| {
        let parts = map.iter().map(|(words, count)| match count {
            1 => words.clone(),
            count => format!("{words} × {count}"),
        });
        parts.collect::<Vec<_>>()
    };
    let rows = faults(&input.history.faults, &input.findings.missing_faults).into_iter().map(
        |(class, tally): (_, FaultTally)| {
            let missing = tally.missing.map(|why| format!("this machine can't: {why}"));
            let reasons: Vec<String> = missing.into_iter().chain(counted(&tally.reasons)).collect();
            vec![
                Cell::Name(class_name(class).to_owned()),
                number(Count(tally.installed)),
                number(Count(tally.skipped)),
                number(Count(tally.indeterminate)),
                Cell::Text(counted(&tally.variants).join(", ")),
                Cell::Text(reasons.join("; ")),
            ]
        },
    );
    let heads = [
        ("Class", false),
        ("Installed", true),
        ("Skipped", true),
        ("Indeterminate", true),
        ("Sorts", false),
        ("Why skipped or uncertain", false),
    ];
    table(page, &heads, rows.collect());
}

/// Operations by call and outcome.
pub(super) fn operations(page: &mut Markup, input: &Input<'_>) {
    let rows = calls(&input.history.ops, input.end_ns()).into_iter().map(|(name, tally)| {
        let latency = |part| {
            let ns = quantile(&tally.latencies_ns, part);
            let none = tally.latencies_ns.is_empty();
            number(if none { "–".to_owned() } else { Duration(ns).to_string() })
        };
        vec![
            Cell::Name(name.replace('_', " ")),
            number(Count(tally.done)),
            number(Count(tally.refused)),
            number(Count(tally.fail)),
            number(Count(tally.info)),
            number(Count(tally.unexpected)),
            latency(0.5),
            latency(0.99),
            latency(1.0),
        ]
    });
    let heads = [
        ("Call", false),
        ("Ok, done", true),
        ("Ok, refused", true),
        ("Fail", true),
        ("Info", true),
        ("Unexpected", true),
        ("Median", true),
        ("99 %", true),
        ("Longest", true),
    ];
    table(page, &heads, rows.collect());
}

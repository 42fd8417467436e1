//! The page: the verdict in words, what was violated, tables, pictures.

use crate::check::verdict::Judgement;

use super::input::{Input, Violation};
use super::markup::Markup;
use super::palette;
use super::picture::Picture;
use super::quantity::{Count, Duration, Things};
use super::tables;

/// Violations that get a picture; the others are listed in `verdict.json`.
pub(super) const WINDOWS_MAX: usize = 8;
/// Reasons of the verdict that are on the page; it may have one for each operation.
const REASONS_MAX: usize = 20;
/// Violations whose sentences are on the page.
const SENTENCES_MAX: usize = 50;

/// The pictures of a page.
#[derive(Debug)]
pub(super) struct Pictures<'a> {
    /// The windows of violations, each with the violation that it shows.
    pub(super) windows: Vec<(&'a Violation, Picture)>,
    /// Pictures over the whole run.
    pub(super) over_time: Vec<Picture>,
}

/// The whole page.
pub(super) fn page(input: &Input<'_>, pictures: &Pictures<'_>) -> String {
    let mut page = Markup::default();
    let title = format!("{}: {}", input.run.name, input.findings.judgement);
    page.open("html", &[("lang", &"en")]);
    page.open("head", &[]);
    page.leaf("meta", &[("charset", &"utf-8")]);
    page.leaf("meta", &[("name", &"viewport"), ("content", &"width=device-width")]);
    page.leaf("meta", &[("name", &"color-scheme"), ("content", &"light dark")]);
    page.element("title", &[], title);
    page.style(palette::PICTURE);
    page.style(palette::PAGE);
    page.close();
    page.open("body", &[]);
    page.open("main", &[]);
    verdict(&mut page, input);
    facts(&mut page, input);
    contents(&mut page, input);
    violations(&mut page, input, pictures);
    section(&mut page, "laws", "Laws");
    tables::laws(&mut page, input.findings);
    section(&mut page, "faults", "Faults by class");
    tables::fault_classes(&mut page, input);
    section(&mut page, "coverage", "Coverage");
    tables::coverage(&mut page, input.findings);
    section(&mut page, "operations", "Operations");
    tables::operations(&mut page, input);
    section(&mut page, "pictures", "Over time");
    for picture in &pictures.over_time {
        page.element("h3", &[], &picture.title);
        figure(&mut page, picture);
    }
    page.close();
    page.close();
    page.close();
    page.document("<!doctype html>")
}

fn verdict(page: &mut Markup, input: &Input<'_>) {
    let state = input.findings.judgement;
    let (class, words) = match state {
        Judgement::Valid => ("valid", "✓ Valid: no law was broken, and enough was tried"),
        Judgement::Invalid => ("invalid", "✗ Invalid: something that must not happen did"),
        Judgement::Unknown => {
            ("unknown", "? Unknown: nothing wrong was seen, but too little was seen to say so")
        }
    };
    page.open("header", &[("class", &format!("verdict {class}"))]);
    page.element("h1", &[], words);
    if !input.findings.reasons.is_empty() {
        page.open("ul", &[]);
        for reason in input.findings.reasons.iter().take(REASONS_MAX) {
            page.element("li", &[], reason);
        }
        let unsaid = input.findings.reasons.len().saturating_sub(REASONS_MAX);
        if unsaid > 0 {
            let words = format!("and {} in verdict.json", Things(unsaid, "more reason"));
            page.element("li", &[], words);
        }
        page.close();
    }
    page.close();
}

fn facts(page: &mut Markup, input: &Input<'_>) {
    let run = input.run;
    let header = &input.history.header;
    let nodes: Vec<String> = header.nodes.iter().map(ToString::to_string).collect();
    let facts = [
        ("Run", run.name.clone()),
        ("Profile", run.profile.clone()),
        ("Seed", header.seed.to_string()),
        ("Commit", run.commit.clone()),
        ("Started", started(header.started_at_ns)),
        ("Lasted", Duration(input.end_ns()).to_string()),
        ("First nodes", nodes.join(", ")),
        ("Operations", Count(input.history.ops.len() as u64).to_string()),
    ];
    let seconds = input.findings.check_seconds;
    // A report that is made again from a record must be the same every time.
    let took = (seconds > 0.0).then(|| ("Checking took", format!("{seconds:.2} s")));
    page.open("dl", &[("class", &"facts")]);
    for (name, value) in facts.into_iter().chain(took) {
        page.open("div", &[]);
        page.element("dt", &[], name);
        page.element("dd", &[], value);
        page.close();
    }
    page.close();
}

fn contents(page: &mut Markup, input: &Input<'_>) {
    page.open("nav", &[]);
    let parts = [
        ("violations", "Violations"),
        ("laws", "Laws"),
        ("faults", "Faults"),
        ("coverage", "Coverage"),
        ("operations", "Operations"),
        ("pictures", "Over time"),
    ];
    let none = input.findings.violations.is_empty();
    for (id, name) in parts.into_iter().filter(|(id, _)| *id != "violations" || !none) {
        page.element("a", &[("href", &format!("#{id}"))], name);
    }
    page.close();
}

fn violations(page: &mut Markup, input: &Input<'_>, pictures: &Pictures<'_>) {
    let all = &input.findings.violations;
    if all.is_empty() {
        return;
    }
    section(page, "violations", "Violations");
    for violation in all.iter().take(SENTENCES_MAX) {
        let sentence = format!("{}: {}", violation.law, violation.sentence);
        page.element("p", &[("class", &"breach-sentence")], sentence);
        for (_, picture) in
            pictures.windows.iter().filter(|(shown, _)| std::ptr::eq(*shown, violation))
        {
            page.element("h3", &[], &picture.title);
            figure(page, picture);
        }
    }
    let unsaid = all.len().saturating_sub(SENTENCES_MAX);
    if unsaid > 0 {
        let words = format!("And {} in verdict.json.", Things(unsaid, "more violation"));
        page.element("p", &[], words);
    }
    let drawable = all.iter().filter(|violation| !violation.ops.is_empty()).count();
    if drawable > pictures.windows.len() {
        let words = format!(
            "{} of {} that name operations are drawn.",
            Count(pictures.windows.len() as u64),
            Things(drawable, "violation")
        );
        page.element("p", &[], words);
    }
}

fn section(page: &mut Markup, id: &str, title: &str) {
    page.element("h2", &[("id", &id)], title);
}

fn figure(page: &mut Markup, picture: &Picture) {
    page.open("figure", &[]);
    page.open("div", &[("class", &"scroll")]);
    page.append(&picture.inline());
    page.close();
    for note in &picture.notes {
        page.element("figcaption", &[], note);
    }
    page.close();
}

fn started(at_ns: i64) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(at_ns)) {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => format!("{at_ns} ns after 1970"),
    }
}

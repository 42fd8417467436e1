//! Texts at the edges of the rules on strings.

use prost_reflect::FieldDescriptor;

use super::rules::{Ends, Rules};

/// Fields of which a text is measured in characters, as a text of two bytes each shows.
const OF_ANY_LETTERS: [&str; 5] =
    ["name", "description", "version_description", "secret_name", "reason"];
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// A text for an edge of one rule.
pub(super) struct TextEdge {
    pub(super) rule: &'static str,
    pub(super) accepted: bool,
    pub(super) text: String,
}

fn edge(rule: &'static str, accepted: bool, text: impl Into<String>) -> TextEdge {
    TextEdge { rule, accepted, text: text.into() }
}

/// The shortest text that a field takes, or one that means something to it.
pub(super) fn sample(field: &FieldDescriptor) -> String {
    let meaningful = match field.name() {
        "role_id" => "viewer",
        "type" => "serviceAccount",
        "permission" => "payload.get",
        _ => "a",
    };
    meaningful.to_owned()
}

/// The edges of the rules on the text of a field, an element or a value of a map.
pub(super) fn edges(field: &FieldDescriptor, rules: &Rules) -> Vec<TextEdge> {
    let mut found = Vec::new();
    if rules.required {
        found.push(edge("required", true, sample(field)));
        found.push(edge("required", false, ""));
    }
    found.extend(rules.length.iter().flat_map(|ends| lengths("length", field, rules, *ends)));
    found.extend(rules.pattern.iter().flat_map(|pattern| patterns("pattern", pattern)));
    found
}

/// The edges of the rules on the keys of a map.
pub(super) fn key_edges(field: &FieldDescriptor, rules: &Rules) -> Vec<TextEdge> {
    let mut found = Vec::new();
    let lengths_of = |ends: &Ends| lengths("key_length", field, rules, *ends);
    found.extend(rules.key_length.iter().flat_map(lengths_of));
    found.extend(rules.key_pattern.iter().flat_map(|pattern| patterns("key_pattern", pattern)));
    found
}

fn lengths(
    rule: &'static str,
    field: &FieldDescriptor,
    rules: &Rules,
    ends: Ends,
) -> Vec<TextEdge> {
    let text = |length: i64| of_length(field, rules, usize::try_from(length).unwrap());
    let mut found = Vec::new();
    for (end, beyond) in [(ends.least, -1), (ends.most, 1)] {
        let Some(end) = end else { continue };
        found.push(edge(rule, true, text(end)));
        found.push(edge(rule, false, text(end + beyond)));
    }
    found
}

/// A text of so many characters that breaks no other rule, as far as there is one.
fn of_length(field: &FieldDescriptor, rules: &Rules, length: usize) -> String {
    let free = rules.pattern.is_none() && OF_ANY_LETTERS.contains(&field.name());
    match field.name() {
        "filter" => format!("name=\"{}\"", "a".repeat(length - "name=\"\"".len())),
        "included_punctuation" | "excluded_punctuation" => {
            PUNCTUATION.chars().cycle().take(length).collect()
        }
        _ if free => "ж".repeat(length),
        _ => "a".repeat(length),
    }
}

/// What a pattern takes and what it does not, each as near to the other as it gets.
fn patterns(rule: &'static str, pattern: &str) -> Vec<TextEdge> {
    let (long, longer) = ("a".repeat(63), "a".repeat(64));
    let (taken, refused): (Vec<&str>, Vec<&str>) = match pattern {
        r"[-_./\\@0-9a-zA-Z]+" => {
            (vec!["-", r"-_./\@09azAZ"], vec!["a b", "a:", "a\n", "\u{e9}", "a,"])
        }
        "[-_0-9a-z]*" => (vec!["", "-_09az"], vec!["A", "a.", "a\n", "\u{e9}"]),
        "[a-z][-_0-9a-z]*" => (vec!["a", "z-_09az"], vec!["1a", "-a", "_", "A", "aB", "a."]),
        // The empty name of the second means one that is not listed.
        "[a-z]([-a-z0-9]{0,61}[a-z0-9])?" | "|[a-z]([-a-z0-9]{0,61}[a-z0-9])?" => {
            (vec!["a", "a-9", &long], vec!["A", "1", "-a", "a-", "a_b", "a\n", &longer])
        }
        _ => panic!("no text is known for the edges of {pattern}"),
    };
    let taken = taken.into_iter().map(|text| edge(rule, true, text));
    taken.chain(refused.into_iter().map(|text| edge(rule, false, text))).collect()
}

//! What stands on the metrics: rules, dashboards and the runbook name only what there is, and each
//! alert has its entry and its tests. Whether expressions have values is for
//! `make dashboards-test`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

const PREFIXES: [&str; 2] = ["lockbox", "kms"];
/// What a name of a series, or of a recording rule, begins with.
const BEGINS: [&str; 5] = ["lockbox_", "lockbox:", "kms_", "kms:", "key_"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of all samples that the reference has.
fn reference() -> BTreeSet<String> {
    let text = read("docs/reference/metrics.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let names = rows.flat_map(|(name, rest)| {
        let ends: &[&str] =
            if rest.starts_with("histogram") { &["_bucket", "_sum", "_count"] } else { &[""] };
        let prefixes: &[&str] = if name.starts_with('*') { &PREFIXES } else { &[""] };
        let of_prefix = |prefix: &&str| {
            let whole = name.replacen('*', prefix, 1);
            ends.iter().map(|end| format!("{whole}{end}")).collect::<Vec<_>>()
        };
        prefixes.iter().flat_map(of_prefix).collect::<Vec<_>>()
    });
    names.collect()
}

/// The value of each line that begins so.
fn values<'t>(text: &'t str, begin: &'t str) -> impl Iterator<Item = &'t str> {
    text.lines().filter_map(move |line| line.trim_start().strip_prefix(begin))
}

/// Names of series in expressions; what is in quotes is none.
fn series(expressions: &str) -> BTreeSet<String> {
    let outside = expressions.split('"').step_by(2).collect::<String>();
    let words = outside.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let named = words.filter(|word| BEGINS.iter().any(|begin| word.starts_with(begin)));
    named.map(str::to_owned).collect()
}

#[test]
fn rules_and_dashboards_name_only_series_that_there_are() {
    let recording = read("deploy/prometheus/rules/recording.yml");
    let mut known = reference();
    known.extend(values(&recording, "- record: ").map(str::to_owned));
    let alerts = read("deploy/prometheus/rules/alerts.yml");
    let mut expressions = vec![("alerts".to_owned(), String::new())];
    for expr in values(&alerts, "expr: ") {
        expressions.push(("alerts".to_owned(), expr.to_owned()));
    }
    // Those of the recording rules may go over several lines; names of rules are known.
    let bare = recording.lines().filter(|line| !line.trim_start().starts_with('#'));
    let bare = bare.filter(|line| !line.contains("- name: ")).collect::<Vec<_>>().join("\n");
    expressions.push(("recording".to_owned(), bare));
    let mut panels = 0;
    for entry in std::fs::read_dir(root().join("deploy/dashboards")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let dashboard: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            panels += 1;
            let title = format!("{} {}", path.display(), panel["title"]);
            for target in panel["targets"].as_array().unwrap() {
                expressions.push((title.clone(), target["expr"].as_str().unwrap().to_owned()));
            }
        }
    }
    assert!(panels > 50, "{panels} panels");
    for (place, expression) in expressions {
        for name in series(&expression) {
            assert!(known.contains(&name), "{place}: {name} is not in the reference");
        }
    }
}

#[test]
fn each_alert_has_an_entry_in_the_runbook_and_two_tests() {
    let (alerts, runbook) = (read("deploy/prometheus/rules/alerts.yml"), read("docs/runbook.md"));
    let tests = read("deploy/prometheus/tests/alerts_test.yml");
    let names: Vec<_> = values(&alerts, "- alert: ").collect();
    let urls: Vec<_> = values(&alerts, "runbook_url: ").map(|url| url.trim_matches('\'')).collect();
    assert!(names.len() > 30 && names.len() == urls.len(), "{names:?}");
    let entries: BTreeSet<_> = values(&runbook, "## ").collect();
    for (name, url) in names.iter().zip(urls) {
        assert_eq!(url, format!("docs/runbook.md#{}", name.to_lowercase()));
        assert!(entries.contains(name), "{name} has no entry in the runbook");
        for what in ["fires", "is quiet"] {
            let test = format!("{name} {what}");
            assert!(values(&tests, "- name: ").any(|named| named == test), "no test: {test}");
        }
    }
    assert_eq!(entries.len(), names.len(), "the runbook has entries of no alert");
    // Links within the runbook, and from dashboards, lead somewhere.
    let anchors: BTreeSet<_> = entries.iter().map(|entry| entry.to_lowercase()).collect();
    let dashboards = ["cluster", "rpc", "storage", "kms-billing", "chaos"];
    let dashboards = dashboards.map(|name| read(&format!("deploy/dashboards/{name}.json")));
    let linked = dashboards.iter().flat_map(|text| text.split("docs/runbook.md#").skip(1));
    for link in linked.chain(runbook.split("](#").skip(1)) {
        let end = link.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(link.len());
        assert!(anchors.contains(&link[..end]), "{} leads nowhere", &link[..end]);
    }
}

#[test]
fn names_are_read_out_of_expressions() {
    let expression = r#"sum(rate(lockbox_a_total{job="lockbox_b"}[5m])) / kms:c:d or key_e"#;
    let expected = ["key_e", "kms:c:d", "lockbox_a_total"];
    assert_eq!(series(expression), expected.map(str::to_owned).into());
}

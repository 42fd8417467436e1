//! The reference of metrics (`docs/reference/metrics.md`) against what real servers show: every
//! series is in it, with its type, labels and help text, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Cluster, PARTS, Part};
use crate::messages::text;
use crate::waiting::until;

const REFERENCE: &str = include_str!("../../../docs/reference/metrics.md");

/// What is said of a series.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Described {
    kind: String,
    labels: BTreeSet<String>,
    help: String,
}

/// Series by name.
type Page = BTreeMap<String, Described>;

/// The row of a table that says the same, to be put into the reference.
fn row(name: &str, of: &Described) -> String {
    let labels: Vec<_> = of.labels.iter().map(|label| format!("`{label}`")).collect();
    let labels = if labels.is_empty() { "—".to_owned() } else { labels.join(", ") };
    format!("| `{name}` | {} | {labels} | {} |", of.kind, of.help)
}

/// The tables of the sections whose headings begin so; `*` in a name is the prefix.
fn documented(headings: &[&str], prefix: &str) -> Page {
    let mut page = Page::new();
    let mut within = false;
    for line in REFERENCE.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            within = headings.contains(&heading);
        }
        let Some(cells) = line.strip_prefix("| `").filter(|_| within) else { continue };
        let cells: Vec<_> = cells.trim_end_matches(" |").splitn(4, " | ").collect();
        let [name, kind, labels, help] = cells[..] else { panic!("{line}") };
        let name = name.trim_end_matches('`').replacen('*', prefix, 1);
        let labels = labels.split(", ").filter(|label| *label != "—");
        let labels = labels.map(|label| label.trim_matches('`').to_owned()).collect();
        let described = Described { kind: kind.to_owned(), labels, help: help.to_owned() };
        assert!(page.insert(name.clone(), described).is_none(), "{name} is there twice");
    }
    assert!(!page.is_empty(), "there is no section {headings:?}");
    page
}

/// Adds what a server shows.
fn add_shown(page: &mut Page, exposition: &str) {
    for line in exposition.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            page.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            page.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if let Some((sample, _value)) = line.rsplit_once(' ') {
            let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
                let base = name.strip_suffix(end)?;
                page.get(base).filter(|found| found.kind == "histogram").map(|_| base)
            });
            let found = page.get_mut(base.unwrap_or(name)).expect("HELP comes first");
            // Values hold neither `="` nor `",`: ids, methods and names of ours.
            let names = labels.split("\",").filter_map(|label| label.split_once("=\""));
            let names = names.map(|(name, _)| name.to_owned()).filter(|name| name != "le");
            found.labels.extend(names);
        }
    }
}

/// What is wrong, as rows.
fn differences(documented: &Page, shown: &Page) -> Vec<String> {
    let names: BTreeSet<_> = documented.keys().chain(shown.keys()).collect();
    let differ = |name: &&&String| documented.get(**name) != shown.get(**name);
    let names = names.iter().filter(differ);
    let told = names.map(|name| match (documented.get(*name), shown.get(*name)) {
        (Some(_), None) => format!("not shown by any server: {name}"),
        (None, Some(shown)) => format!("not in the reference: {}", row(name, shown)),
        (_, shown) => format!("otherwise: {}", row(name, &shown.cloned().unwrap_or_default())),
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reference_has_every_series_and_no_other() {
    let cluster = Cluster::start(Vec::new()).await;
    let own_key = cluster.admin(Part::Kms).create_kms_key().await;
    let secret = cluster.admin(Part::Node(1)).create(&own_key, vec![text("k", "v")]).await;
    for node in [1, 2, 3] {
        cluster.admin(Part::Node(node)).read(&secret).await.unwrap();
    }
    let node = documented(&["Both servers: `/metrics`", "A node: `/metrics`"], "lockbox");
    let kms = documented(&["Both servers: `/metrics`", "The KMS: `/metrics`"], "kms");
    let secrets = documented(&["Each secret: `/metrics/secrets`"], "");
    let keys = documented(&["Each key: `/metrics/keys`"], "");
    let mut told = Vec::new();
    // Some are there once a task has come round: the leader's, and those of the syncer.
    let found = until("reference that is right", async || {
        let mut pages: [Page; 4] = Default::default();
        for part in PARTS {
            let (main, each) = match part {
                Part::Kms => (1, ("/metrics/keys", 3)),
                Part::Node(_) => (0, ("/metrics/secrets", 2)),
            };
            for (path, page) in [("/metrics", main), each] {
                let answer = cluster.health(part, path).await?;
                assert_eq!(answer.status, 200, "{part}{path}: {}", answer.text());
                add_shown(&mut pages[page], &answer.text());
            }
        }
        let expected = [&node, &kms, &secrets, &keys];
        let all = expected.into_iter().zip(&pages);
        let wrong: Vec<_> = all.flat_map(|(page, shown)| differences(page, shown)).collect();
        // The last that is printed is what is wrong when the wait is given up.
        if wrong != told {
            println!("{}\n", wrong.join("\n"));
            told.clone_from(&wrong);
        }
        wrong.is_empty().then_some(pages)
    })
    .await;
    let ids = ["secret", "key"];
    for page in &found[..2] {
        for (name, series) in page {
            assert!(ids.iter().all(|id| !series.labels.contains(*id)), "{name} has an id");
        }
    }
}

#[test]
fn a_series_that_is_missing_new_or_other_is_told() {
    let described = |kind: &str, labels: &[&str]| Described {
        kind: kind.to_owned(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        help: "Help.".to_owned(),
    };
    let mut shown = Page::new();
    let exposition = "# HELP a_seconds Help.\n# TYPE a_seconds histogram\n\
        a_seconds_bucket{method=\"/x/Y\",le=\"1\"} 1\na_seconds_sum{method=\"/x/Y\"} 0.5\n\
        a_seconds_count{method=\"/x/Y\"} 1\n\
        # HELP b Help.\n# TYPE b gauge\nb 1\n";
    add_shown(&mut shown, exposition);
    let right = Page::from([
        ("a_seconds".to_owned(), described("histogram", &["method"])),
        ("b".to_owned(), described("gauge", &[])),
    ]);
    assert_eq!(shown, right);
    assert!(differences(&right, &shown).is_empty());
    let wrong = Page::from([
        ("b".to_owned(), described("counter", &[])),
        ("c".to_owned(), described("gauge", &[])),
    ]);
    assert_eq!(
        differences(&wrong, &shown),
        [
            "not in the reference: | `a_seconds` | histogram | `method` | Help. |",
            "otherwise: | `b` | gauge | — | Help. |",
            "not shown by any server: c",
        ]
    );
}

//! `docs/compatibility.md` is held against the tree: every method has a row, with its routes and
//! its commands, and what is said to cover it is there.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use lockbox_proto::{METHODS, REST_ROUTES};

const DOCUMENT: &str = include_str!("../../../docs/compatibility.md");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Where the modules are that the document names without a directory, or with the last of it.
const PLACES: [&str; 5] =
    ["node/tests/it", "node/tests", "kms-sim/tests/it", "platform/tests/it", "proto/tests/it"];
/// What covers a method and is no module of tests.
const NO_MODULES: [&str; 2] = ["test-clients", "platform jwt tests"];

/// What the document says of one method.
struct Row {
    routes: String,
    commands: Vec<String>,
    covered: Vec<String>,
}

/// What is between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The commands of a cell, below what the head of its column says.
fn commands(head: &str, cell: &str) -> Vec<String> {
    let program = quoted(head).next().unwrap();
    let program = program.trim_start_matches("lockbox").trim_end_matches('…');
    let whole = |command: &str| match command.split_once("-/") {
        // `add-/remove-access-binding` is two.
        Some((first, second)) => {
            let (group, verb) = first.rsplit_once(' ').unwrap_or(("", first));
            let object = second.split_once('-').unwrap().1;
            vec![format!("{group} {verb}-{object}"), format!("{group} {second}")]
        }
        None => vec![command.to_owned()],
    };
    let all = quoted(cell).flat_map(whole);
    all.map(|command| format!("{program} {command}")).collect()
}

/// The rows of the sections that are called like a service, by service and method.
fn rows() -> BTreeMap<(String, String), Row> {
    let (mut service, mut head) = (String::new(), String::new());
    let mut rows = BTreeMap::new();
    for line in DOCUMENT.lines() {
        if let Some(title) = line.strip_prefix('#') {
            service = title.strip_prefix("## ").unwrap_or_default().to_owned();
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let (false, [method, routes, command, covered]) = (service.is_empty(), cells.as_slice())
        else {
            continue;
        };
        if *method == "method" {
            (*command).clone_into(&mut head);
        } else if !method.starts_with('-') {
            let name = method.split(';').next().unwrap().to_owned();
            let row = Row {
                routes: (*routes).to_owned(),
                commands: commands(&head, command),
                covered: covered.split(", ").map(str::to_owned).collect(),
            };
            rows.insert((service.clone(), name), row);
        }
    }
    rows
}

/// Whether there is a module of tests with that name, and in it the test, if one is named.
fn is_there(module: &str, test: Option<&str>) -> bool {
    let mut files = PLACES
        .iter()
        .flat_map(|place| [format!("{place}/{module}.rs"), format!("{place}/{module}/mod.rs")]);
    files.any(|file| {
        let text = std::fs::read_to_string(Path::new(ROOT).join(file));
        text.is_ok_and(|text| test.is_none_or(|test| text.contains(&format!("fn {test}("))))
    })
}

#[test]
fn every_method_has_its_row_with_its_routes_and_its_commands() {
    let mut rows = rows();
    for method in METHODS {
        let Some(service) = method.service.strip_prefix("yandex.cloud.") else { continue };
        let row = rows.remove(&(service.to_owned(), method.method.to_owned()));
        let row = row.unwrap_or_else(|| panic!("no row for {}", method.grpc_path));
        for route in REST_ROUTES.iter().filter(|route| route.grpc_path == method.grpc_path) {
            let mut template = String::new();
            for (number, part) in route.template.split(['{', '}']).enumerate() {
                template.push_str(if number % 2 == 0 { part } else { "{id}" });
            }
            let is_told = row.routes.contains(route.verb)
                && row.routes.trim_matches('`').ends_with(&format!(" {template}"));
            assert!(is_told, "{}: {} {template}", method.grpc_path, route.verb);
        }
        for command in row.commands {
            let help = Command::new(env!("CARGO_BIN_EXE_lockbox"))
                .args(command.split_whitespace())
                .arg("--help")
                .output()
                .unwrap();
            assert!(help.status.success(), "{}: lockbox {command}", method.grpc_path);
        }
    }
    let rest: Vec<_> = rows.into_keys().collect();
    assert!(rest.is_empty(), "no such methods: {rest:?}");
}

#[test]
fn what_covers_a_method_is_there() {
    let mut looked_at = 0;
    for ((service, method), row) in rows() {
        for covered in &row.covered {
            let name = covered.strip_prefix("answers UNIMPLEMENTED: ").unwrap_or(covered);
            let name = name.split(" (").next().unwrap();
            if NO_MODULES.contains(&name) {
                continue;
            }
            let found = match (name.split_once("::"), name.split_once(": ")) {
                (Some((module, test)), _) => is_there(module, Some(test)),
                // Of another crate, with one module of tests for this.
                (None, Some(("proto", test))) => is_there("wire", Some(test)),
                (None, _) => is_there(name, None),
            };
            assert!(found, "{service}.{method} is not covered by {covered}");
            looked_at += 1;
        }
    }
    assert!(looked_at > 100, "{looked_at}: this test looks at nothing any more");
    // Those that the text names, too.
    for name in quoted(DOCUMENT).filter(|name| !name.contains(' ')) {
        let Some((module, test)) = name.split_once("::") else { continue };
        if module != "conformance" {
            assert!(is_there(module, Some(test)), "there is no {name}");
        }
    }
}

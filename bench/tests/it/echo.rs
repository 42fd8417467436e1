//! The whole path of a run, with the echo server at the other end.

use serde_json::Value;

use crate::support::{run, succeed};

const SHORT: [&str; 10] = [
    "--clients",
    "4",
    "--connections",
    "2",
    "--value-bytes",
    "512",
    "--warm-up",
    "0.1",
    "--duration",
    "0.4",
];

#[test]
fn a_run_over_tls_is_told_as_one_json_object() {
    let directory = tempfile::tempdir().unwrap();
    let certificates = directory.path().to_str().unwrap();
    succeed(&["certificates", "--directory", certificates]);
    for operation in ["get", "put", "mix"] {
        let mut arguments = vec!["echo", "--operation", operation, "--json", "-"];
        arguments.extend(["--certificates", certificates, "--label", "echo", "--round", "2"]);
        arguments.extend(SHORT);
        let result: Value = serde_json::from_str(&succeed(&arguments)).unwrap();
        assert_eq!(result["operation"], operation);
        assert_eq!((&result["label"], &result["round"]), (&"echo".into(), &2.into()));
        assert_eq!((&result["clients"], &result["connections"]), (&4.into(), &2.into()));
        assert!(result["operations"].as_u64().unwrap() > 0, "{result}");
        assert_eq!(result["errors"], Value::Object(serde_json::Map::new()), "{result}");
        let latency = |name: &str| result["latency_us"][name].as_u64().unwrap();
        assert!(latency("p50") <= latency("p99") && latency("p99") <= latency("max"));
        assert!(result["server_cpu_us"].as_f64().unwrap() > 0.0, "{result}");
    }
}

#[test]
fn a_run_is_told_as_a_table_and_appended_to_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("results.jsonl");
    for _ in 0..2 {
        let mut arguments = vec!["echo", "--json", file.to_str().unwrap()];
        arguments.extend(SHORT);
        let table = succeed(&arguments);
        for name in ["operations/s", "p50 ms", "p99 ms", "p99.9 ms", "errors"] {
            assert!(table.contains(name), "{name} is missing in {table}");
        }
    }
    assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), 2);
}

#[test]
fn a_load_without_a_token_is_refused_in_one_sentence() {
    let output = run(&["load", "--endpoint", "localhost:1", "--folder-id", "f"]);
    assert!(!output.status.success());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("LOCKBOX_TOKEN must hold an IAM token"), "{errors}");
}

#[test]
fn nobody_listening_is_an_error_that_names_the_endpoint() {
    let output = run(&["etcd", "--endpoint", "127.0.0.1:1"]);
    assert!(!output.status.success());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("cannot connect to 127.0.0.1:1"), "{errors}");
}

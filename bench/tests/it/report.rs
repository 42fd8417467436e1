//! From a file of results to a file of ratios.

use crate::support::{run, succeed};

fn result(label: &str, operations_per_second: u32) -> String {
    serde_json::json!({
        "label": label, "round": 1, "operation": "put", "members": "leader", "clients": 64,
        "connections": 8, "value_bytes": 256, "secrets": 1000, "seconds": 4.0,
        "operations": 4000, "operations_per_second": operations_per_second,
        "latency_us": {"p50": 900, "p99": 2000, "p999": 3000, "max": 4000},
        "errors": {}, "first_error": null, "server_cpu_us": 150.0, "client_cpu_us": 20.0,
        "other_cores": 0.1, "stolen_cores": 0.0, "syncs_per_operation": 0.25
    })
    .to_string()
}

#[test]
fn results_become_a_table_of_ratios() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let results = format!("{}\n{}\n", result("lockbox-leader", 9000), result("etcd-leader", 6000));
    std::fs::write(at("results.jsonl"), results).unwrap();
    std::fs::write(at("facts"), "fdatasync: p50 180 us\n").unwrap();
    let (results, facts, output) = (at("results.jsonl"), at("facts"), at("report.md"));
    succeed(&[
        "report",
        "--results",
        &results,
        "--facts",
        &facts,
        "--title",
        "A run",
        "--output",
        &output,
    ]);
    let text = std::fs::read_to_string(output).unwrap();
    assert!(text.starts_with("# A run\n\n- fdatasync: p50 180 us\n"), "{text}");
    assert!(text.contains("| 256 | 64 | **1.50** | ≥ 1 | met | 9000 |"), "{text}");
}

#[test]
fn a_line_that_is_no_result_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let results = directory.path().join("results.jsonl");
    std::fs::write(&results, format!("{}\n{{}}\n", result("echo", 1))).unwrap();
    let output = run(&["report", "--results", results.to_str().unwrap(), "--title", "A run"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 2 is no result"));
}

//! The ledgers of a run: what nodes say that they asked of the KMS, what it says that it served,
//! and what it billed, each as lines of the history (L11).
//!
//! The first two are audits, also of nodes that have been replaced or have lost their disk; the
//! third is the KMS's ledger, as its own program tells it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::client::request_id::op_of;
use crate::cluster::kept_audit::tells_of_requests;
use crate::cluster::part::Part;
use crate::cluster::{Cluster, audit_files};
use crate::history::ids::{KmsKeyId, KmsRequestId, OpId};
use crate::history::ledger::{KmsOperation, KmsUse, Ledger, LedgerLine};
use crate::history::recorder::Recorder;

/// A record of an audit, as far as it matters here.
#[derive(Debug, Deserialize)]
struct AuditRecord {
    request_metadata: RequestMetadata,
    kms_requests: Vec<KmsRequest>,
}

#[derive(Debug, Deserialize)]
struct RequestMetadata {
    request_id: String,
}

#[derive(Debug, Deserialize)]
struct KmsRequest {
    kms_request_id: KmsRequestId,
    key_id: KmsKeyId,
    operation: KmsOperation,
    answered: bool,
}

/// A record of the KMS's ledger, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Billed {
    sequence: u64,
    operation: KmsOperation,
    key_id: KmsKeyId,
    request_id: String,
    kms_request_id: Option<KmsRequestId>,
    system: bool,
    billable: bool,
}

/// What is told of one request for one operation, and whether it was answered. A request that is told
/// of as two uses has both: that is for the law to see.
type Told = BTreeMap<(KmsRequestId, Option<OpId>, KmsUse), bool>;

/// Records the lines of all ledgers of a cluster whose load is over.
///
/// # Errors
/// When a ledger cannot be read or recorded.
pub fn collect(recorder: &Recorder, cluster: &Cluster) -> Result<()> {
    let spec = cluster.spec();
    let nodes = (1..=spec.nodes + spec.spares).map(Part::Node);
    let audits = nodes.flat_map(|node| [cluster.kept_audit(node), cluster.audit(node)]);
    record(recorder, Ledger::NodeCalls, told_by(audits)?)?;
    let mut served = told_by([cluster.audit(Part::Kms)])?;
    served.retain(|_, answered| *answered);
    record(recorder, Ledger::KmsServed, served)?;
    let config = cluster.files().config(Part::Kms);
    bill(recorder, &spec.programs.kms_sim, &config)
}

fn record(recorder: &Recorder, ledger: Ledger, told: Told) -> Result<()> {
    for ((request, op, used), answered) in told {
        let used = Some(used);
        recorder.ledger(|at| LedgerLine { at, ledger, request, op, used, answered })?;
    }
    Ok(())
}

/// What audits tell together. One that is not there tells nothing.
fn told_by(audits: impl IntoIterator<Item = PathBuf>) -> Result<Told> {
    let mut told = Told::new();
    for audit in audits {
        for file in audit_files::of(&audit).with_context(|| audit.display().to_string())? {
            let read = audit_files::open(&file).and_then(|opened| match opened {
                Some(lines) => read_audit(lines, &mut told),
                None => Ok(()),
            });
            read.with_context(|| format!("cannot read {}", file.display()))?;
        }
    }
    Ok(told)
}

fn read_audit(mut audit: impl BufRead, told: &mut Told) -> io::Result<()> {
    let mut line = Vec::new();
    while audit.read_until(b'\n', &mut line)? > 0 {
        // A line that does not parse was torn by a crash: nobody was answered on it.
        if tells_of_requests(&line)
            && let Ok(record) = serde_json::from_slice::<AuditRecord>(&line)
        {
            let op = op_of(&record.request_metadata.request_id);
            for request in record.kms_requests {
                let KmsRequest { kms_request_id, key_id, operation, answered } = request;
                let used = KmsUse { key: key_id, operation };
                *told.entry((kms_request_id, op, used)).or_default() |= answered;
            }
        }
        line.clear();
    }
    Ok(())
}

/// Records what the KMS has billed to customers.
fn bill(recorder: &Recorder, kms_sim: &Path, config: &Path) -> Result<()> {
    let mut command = Command::new(kms_sim);
    command.args(["billing", "records", "--config"]).arg(config);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("the ledger has no output")?;
    let recorded = read_bill(BufReader::new(output), |line: LineOfBill| {
        let LineOfBill { request, op, used } = line;
        let (ledger, used, answered) = (Ledger::KmsBilled, Some(used), false);
        recorder.ledger(|at| LedgerLine { at, ledger, request, op, used, answered })?;
        Ok(())
    });
    let status = child.wait()?;
    recorded.with_context(|| format!("kms-sim billing records: {status}"))?;
    ensure!(status.success(), "kms-sim billing records: {status}");
    Ok(())
}

/// A billed request.
#[derive(Debug, PartialEq, Eq)]
struct LineOfBill {
    request: KmsRequestId,
    op: Option<OpId>,
    used: KmsUse,
}

fn read_bill(bill: impl BufRead, mut take: impl FnMut(LineOfBill) -> Result<()>) -> Result<()> {
    for line in bill.lines() {
        let billed: Billed = serde_json::from_str(&line?).context("a line of the bill is none")?;
        if billed.system || !billed.billable {
            continue;
        }
        // Nobody but nodes uses keys in a run, so whoever did without an id is to show.
        let nameless = || KmsRequestId::from(format!("record-{}", billed.sequence).as_str());
        take(LineOfBill {
            request: billed.kms_request_id.clone().unwrap_or_else(nameless),
            op: op_of(&billed.request_id),
            used: KmsUse { key: billed.key_id, operation: billed.operation },
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::request_id::request_id;

    fn audited(op: OpId, request: &str, answered: bool) -> String {
        format!(
            "{{\"sequence\":1,\"event_id\":\"e\",\"request_metadata\":{{\"request_id\":\"{}\"}},\
             \"kms_requests\":[{{\"kms_request_id\":\"{request}\",\"key_id\":\"k\",\
             \"operation\":\"Decrypt\",\"answered\":{answered}}}]}}\n",
            request_id(op)
        )
    }

    #[test]
    fn audits_are_joined_and_torn_lines_passed_over() {
        let mut audit = audited(OpId(3), "r1", false);
        audit.push_str("{\"sequence\":2,\"event_type\":\"GetSecret\"}\n");
        audit.push_str(&audited(OpId(3), "r1", true));
        audit.push_str(&audited(OpId(4), "r1", false));
        audit.push_str("{\"kms_requests\":[{\"kms_req\n");
        let mut told = Told::new();
        read_audit(audit.as_bytes(), &mut told).unwrap();
        let lines: Vec<_> =
            told.iter().map(|((_, op, _), answered)| (op.unwrap().0, *answered)).collect();
        assert_eq!(lines, [(3, true), (4, false)]);
    }

    #[test]
    fn a_request_that_is_told_of_as_two_uses_has_both() {
        let first = audited(OpId(3), "r1", true);
        let mut audit = first.replace("\"Decrypt\"", "\"GenerateDataKey\"");
        audit.push_str(&first.replace("\"k\"", "\"other\""));
        audit.push_str(&first);
        let mut told = Told::new();
        read_audit(audit.as_bytes(), &mut told).unwrap();
        assert_eq!(told.len(), 3);
    }

    #[test]
    fn finished_files_of_an_audit_are_read_too() {
        let directory = tempfile::tempdir().unwrap();
        let active = directory.path().join("audit.jsonl");
        let packed = zstd::encode_all(audited(OpId(3), "r1", true).as_bytes(), 1).unwrap();
        std::fs::write(directory.path().join("audit.jsonl.000000000001.zst"), packed).unwrap();
        let plain = directory.path().join("audit.jsonl.000000000002");
        std::fs::write(plain, audited(OpId(4), "r2", true)).unwrap();
        std::fs::write(&active, audited(OpId(5), "r3", true)).unwrap();
        let told = told_by([active, directory.path().join("nothing")]).unwrap();
        let ops: Vec<_> = told.keys().map(|(_, op, _)| op.unwrap().0).collect();
        assert_eq!(ops, [3, 4, 5]);
    }

    #[test]
    fn of_the_bill_what_is_charged_is_taken() {
        let line = |sequence: u64, system: bool, billable: bool, id: &str| {
            format!(
                "{{\"sequence\":{sequence},\"operation\":\"GenerateDataKey\",\"key_id\":\"k\",\
                 \"request_id\":\"{}\",{id}\"system\":{system},\"billable\":{billable}}}\n",
                request_id(OpId(5))
            )
        };
        let id = "\"kms_request_id\":\"r1\",";
        let bill = [
            line(1, false, true, id),
            line(2, false, false, id),
            line(3, true, false, ""),
            line(4, false, true, ""),
        ]
        .concat();
        let mut taken = Vec::new();
        read_bill(bill.as_bytes(), |line| {
            taken.push(line);
            Ok(())
        })
        .unwrap();
        let used = || KmsUse { key: "k".into(), operation: KmsOperation::GenerateDataKey };
        let op = Some(OpId(5));
        let expected = ["r1", "record-4"];
        let expected = expected.map(|id| LineOfBill { request: id.into(), op, used: used() });
        assert_eq!(taken, expected);
        assert!(read_bill(&b"no bill\n"[..], |_| Ok(())).is_err());
    }
}

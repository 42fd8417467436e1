//! Whether destroyed payloads are out of the files of all nodes at the end of a run (L12).
//!
//! Asks each node as `lockbox admin verify-destroyed` does, until it says so or the time is over
//! in which it has promised to have them gone. No fault lasts any more, and nobody writes.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lockbox_proto::lockbox::cluster::v1 as wire;
use tokio::time::{Instant, sleep};

use super::attempt::Shared;
use super::books::Destroyed;
use crate::client::operator::OperatorClient;
use crate::history::ledger::{CanaryFound, CanaryScan, ScanPlace};

/// The most versions that are looked for: each takes as long as reading all files.
const VERSIONS_MAX: usize = 4;
/// How long a node may take to read its files.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two questions to a node.
const PAUSE: Duration = Duration::from_secs(1);
/// How much longer than promised is waited: the machine may be busy.
const GRACE: Duration = Duration::from_secs(30);

/// Looks, and records what each node has said.
///
/// # Errors
/// When no destroyed version is known, a node does not answer, or it cannot read one of its files.
pub async fn look(shared: &Shared, purge_within: Duration) -> Result<()> {
    let there: BTreeSet<_> = shared.secrets.secrets().into_iter().collect();
    let mut destroyed = shared.destroyed.versions();
    // What was deleted with its secret meanwhile is not known by its id any more.
    destroyed.retain(|version| there.contains(&version.secret));
    destroyed.truncate(VERSIONS_MAX);
    ensure!(!destroyed.is_empty(), "no answer has shown a destroyed version");
    let members = (shared.site.members)();
    let until = Instant::now() + purge_within + GRACE;
    for site in shared.site.nodes.iter().filter(|site| members.contains(&site.node)) {
        let mut client = shared.site.operator_client(site)?.patient(PATIENCE);
        let (mut bytes, mut found) = (0, Vec::new());
        for version in &destroyed {
            let answer = last_answer(&mut client, version, until).await;
            let answer = answer.with_context(|| {
                let (node, version) = (site.node, &version.version);
                format!("node {node} does not say whether it holds version {version}")
            })?;
            bytes += answer.files.iter().map(|file| file.bytes).sum::<u64>();
            found.extend(holders(version, &answer)?);
        }
        let (of, canaries) = (format!("node {}", site.node), destroyed.len() as u64);
        let place = ScanPlace::Destroyed;
        shared.recorder.scan(|at| CanaryScan { at, place, of, canaries, bytes, found })?;
    }
    Ok(())
}

/// The answer that the node stays with: that no file holds the version, or one behind another by
/// which nothing was pending any more, or whatever it says when the time is over.
async fn last_answer(
    client: &mut OperatorClient,
    version: &Destroyed,
    until: Instant,
) -> Option<wire::VerifyDestroyedResponse> {
    let mut was_done = false;
    loop {
        let (secret, id) = (version.secret.as_str(), version.version.as_str());
        let answer = client.verify_destroyed(secret, id).await;
        let stays = answer.as_ref().is_some_and(|answer| was_done || is_clean(answer));
        if stays || Instant::now() >= until {
            return answer;
        }
        was_done = answer.is_some_and(|answer| answer.pending == 0);
        sleep(PAUSE).await;
    }
}

fn is_clean(answer: &wire::VerifyDestroyedResponse) -> bool {
    answer.files.iter().all(|file| file.finding == "clean")
}

/// The files that hold it.
fn holders(
    version: &Destroyed,
    answer: &wire::VerifyDestroyedResponse,
) -> Result<Vec<CanaryFound>> {
    ensure!(!answer.files.is_empty(), "a node without files was looked at");
    let mut found = Vec::new();
    for file in &answer.files {
        let (path, finding) = (&file.path, file.finding.as_str());
        let is_read = matches!(finding, "clean" | "holds");
        ensure!(is_read, "{path} could not be searched: {finding} {}", file.reason);
        if finding == "holds" {
            let (file, form) = (path.clone(), "wrapped_key".to_owned());
            found.push(CanaryFound { op: version.op, file, offset: 0, form });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::ids::OpId;

    fn answer(findings: &[&str]) -> wire::VerifyDestroyedResponse {
        let files = findings.iter().map(|finding| wire::SearchedFile {
            path: format!("raft/{finding}.sst"),
            finding: (*finding).to_owned(),
            ..wire::SearchedFile::default()
        });
        wire::VerifyDestroyedResponse {
            files: files.collect(),
            ..wire::VerifyDestroyedResponse::default()
        }
    }

    #[test]
    fn a_file_that_holds_it_is_found_and_one_that_nobody_could_read_is_no_proof() {
        let version = Destroyed { op: OpId(7), secret: "s".into(), version: "v".into() };
        let found = |findings: &[&str]| holders(&version, &answer(findings));
        assert!(found(&["clean"]).unwrap().is_empty());
        let held = found(&["clean", "holds"]).unwrap();
        assert_eq!((held[0].op, held[0].file.as_str()), (OpId(7), "raft/holds.sst"));
        assert_eq!(held.len(), 1);
        for nothing in [&["clean", "unreadable"][..], &["whatever"], &[]] {
            assert!(found(nothing).is_err(), "{nothing:?}");
        }
        assert!(is_clean(&answer(&["clean"])) && !is_clean(&answer(&["clean", "unreadable"])));
    }
}

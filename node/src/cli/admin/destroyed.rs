//! `lockbox admin verify-destroyed`: whether a destroyed payload is out of all files of all nodes.

use std::collections::BTreeSet;

use clap::Args;
use lockbox_proto::lockbox::cluster::v1 as wire;
use wire::admin_service_client::AdminServiceClient;

use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Format, Record, Table};
use crate::cli::peer::PeerTarget;

/// A destroyed version, and whom to ask about it.
///
/// Each node reads every file of its data directory and looks for the sealed payload of the version
/// and for its wrapped data key, without which the payload cannot be opened, also in wrappings of
/// before. That takes as long as reading them: give it more time with --timeout.
///
/// The exit code is about this version alone: 0 when it is in no file of any node that was asked,
/// which are all unless --node says otherwise; 1 when a file holds it or cannot be read, or a node
/// has read none; 3 when a node does not answer: it is pending there, and its files are cleaned when
/// it is back. Other destroyed versions that a node has yet to clean are counted under ANY PENDING,
/// and change nothing of the exit code.
#[derive(Debug, Args)]
pub(crate) struct VerifyDestroyed {
    /// The secret's id.
    #[arg(value_name = "SECRET-ID")]
    secret_id: String,
    /// The version's id.
    #[arg(value_name = "VERSION-ID")]
    version_id: String,
    /// Ask this member; may be given several times. Without it, all of them.
    #[arg(long = "node", value_name = "ID")]
    nodes: Vec<u64>,
    /// The marks to look for, as an earlier answer has told it: when the secret was deleted, or the
    /// version forgotten.
    #[arg(long, value_name = "HEX")]
    mark: Option<String>,
}

/// What came of asking a node.
type Asked = (u64, Result<wire::VerifyDestroyedResponse, Failure>);

impl VerifyDestroyed {
    /// Asks the nodes, prints what they say, and fails unless all of them are clean.
    pub(crate) fn run(&self, target: &PeerTarget<'_>) -> Result<(), Failure> {
        let status = target.status()?;
        let mut request = wire::VerifyDestroyedRequest {
            secret_id: self.secret_id.clone(),
            version_id: self.version_id.clone(),
            mark: self.mark.clone().unwrap_or_default(),
        };
        let mut asked: Vec<Asked> = Vec::new();
        for member in self.members(&status)? {
            let answer =
                target.ask_member(status.node_id, member, &request, async |channel, request| {
                    AdminServiceClient::new(channel).verify_destroyed(request).await
                });
            if answer.as_ref().is_err_and(|failure| failure.exit() != Exit::Unreachable) {
                return answer.map(drop);
            }
            // A node that has no leader needs to be told what to look for.
            if let Ok(answer) = &answer {
                request.mark.clone_from(&answer.mark);
            }
            asked.push((member.node_id, answer));
        }
        output::write(shown(&asked, target.format)?.as_bytes())?;
        verdict(&asked)?;
        if matches!(target.format, Format::Text) {
            output::write(self.conclusion(&asked, &status).as_bytes())?;
        }
        Ok(())
    }

    /// What it means that all who were asked are clean: of which nodes, and of what it says nothing.
    fn conclusion(&self, asked: &[Asked], status: &wire::StatusResponse) -> String {
        let (version, secret) = (&self.version_id, &self.secret_id);
        let ids: BTreeSet<u64> = asked.iter().map(|(id, _)| *id).collect();
        let clean = listed(&ids);
        let mut text = format!("version {version} of {secret} is in no file of node {clean}\n");
        let members = status.members.iter().map(|member| member.node_id);
        let rest: BTreeSet<u64> = members.filter(|id| !ids.contains(id)).collect();
        if !rest.is_empty() {
            text.push_str(&format!("not asked, so not known: node {}\n", listed(&rest)));
        }
        let pending = |(id, answer): &Asked| Some((*id, answer.as_ref().ok()?.pending));
        for (id, pending) in asked.iter().filter_map(pending).filter(|(_, pending)| *pending > 0) {
            text.push_str(&format!(
                "destroyed payloads pending on node {id}: {pending}; nothing is said of others \
                 than this one\n"
            ));
        }
        text
    }

    /// Whom to ask; the node that is named first, for it is there.
    fn members<'s>(
        &self,
        status: &'s wire::StatusResponse,
    ) -> Result<Vec<&'s wire::MemberStatus>, Failure> {
        let is_member = |id: &u64| status.members.iter().any(|member| member.node_id == *id);
        if let Some(stranger) = self.nodes.iter().find(|id| !is_member(id)) {
            return Err(Failure::usage(format_args!("node {stranger} is no member")));
        }
        let wanted = |member: &&wire::MemberStatus| {
            self.nodes.is_empty() || self.nodes.contains(&member.node_id)
        };
        let mut members: Vec<_> = status.members.iter().filter(wanted).collect();
        members.sort_by_key(|member| (member.node_id != status.node_id, member.node_id));
        Ok(members)
    }
}

/// Ids with commas.
fn listed(ids: &BTreeSet<u64>) -> String {
    ids.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

fn shown(asked: &[Asked], format: Format) -> Result<String, Failure> {
    match format {
        Format::Text => {
            Ok([nodes_table(asked), files_table(asked)].iter().map(Table::render).collect())
        }
        Format::Yaml | Format::Json | Format::JsonRest => {
            let answers = asked.iter().filter_map(|(_, answer)| answer.as_ref().ok());
            let records = answers.map(Record::of).collect::<Result<Vec<_>, _>>()?;
            output::many(format, &records, || nodes_table(asked))
        }
    }
}

fn count(answer: &wire::VerifyDestroyedResponse, finding: &str) -> usize {
    answer.files.iter().filter(|file| file.finding == finding).count()
}

/// The nodes, one in a row.
fn nodes_table(asked: &[Asked]) -> Table {
    let row = |(id, answer): &Asked| match answer {
        Ok(answer) => vec![
            id.to_string(),
            answer.files.len().to_string(),
            count(answer, "holds").to_string(),
            count(answer, "unreadable").to_string(),
            answer.pending.to_string(),
            answer.mark.clone(),
        ],
        Err(failure) => {
            let mut row = vec![id.to_string()];
            row.extend(std::iter::repeat_n("-".to_owned(), 3));
            row.extend(["away".to_owned(), failure.to_string()]);
            row
        }
    };
    Table {
        columns: vec!["NODE", "FILES", "HOLD IT", "UNREADABLE", "ANY PENDING", "MARK"],
        rows: asked.iter().map(row).collect(),
    }
}

/// The files of those that answered.
fn files_table(asked: &[Asked]) -> Table {
    let answers = asked.iter().filter_map(|(id, answer)| Some((id, answer.as_ref().ok()?)));
    let rows = answers.flat_map(|(id, answer)| {
        answer.files.iter().map(move |file| {
            let reason = match file.reason.as_str() {
                "" => file.finding.clone(),
                reason => format!("{}: {reason}", file.finding),
            };
            vec![id.to_string(), file.path.clone(), file.bytes.to_string(), reason]
        })
    });
    Table { columns: vec!["NODE", "FILE", "BYTES", "FINDING"], rows: rows.collect() }
}

/// Fails unless every node has answered and every file is clean. What else a node has yet to clean
/// does not count: it was asked about one version.
fn verdict(asked: &[Asked]) -> Result<(), Failure> {
    let answers = || asked.iter().filter_map(|(_, answer)| answer.as_ref().ok());
    for (finding, what) in [("holds", "still hold the payload"), ("unreadable", "cannot be read")] {
        let files: usize = answers().map(|answer| count(answer, finding)).sum();
        if files > 0 {
            let sentence = format_args!("{files} of the files {what}");
            return Err(Failure::new(Exit::Refused, sentence));
        }
    }
    if let Some(blind) = answers().find(|answer| answer.files.is_empty()) {
        let sentence = format_args!("node {} has read no file", blind.node_id);
        return Err(Failure::new(Exit::Refused, sentence));
    }
    match asked.iter().find_map(|(id, answer)| Some((id, answer.as_ref().err()?))) {
        Some((id, failure)) => {
            let sentence = format_args!("node {id} is pending: {failure}");
            Err(Failure::new(Exit::Unreachable, sentence))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(node_id: u64, findings: &[&str]) -> Asked {
        let files = findings.iter().map(|finding| wire::SearchedFile {
            path: format!("raft/{finding}.sst"),
            bytes: 9,
            finding: (*finding).to_owned(),
            reason: if *finding == "unreadable" { "no such luck".into() } else { String::new() },
        });
        let (files, mark) = (files.collect(), "ab".repeat(16));
        let answer = wire::VerifyDestroyedResponse {
            node_id,
            mark,
            files,
            pending: 1,
            pending_age_seconds: 2,
        };
        (node_id, Ok(answer))
    }

    fn away(id: u64) -> Asked {
        (id, Err(Failure::timeout("n3:1")))
    }

    #[test]
    fn whatever_is_not_clean_is_a_failure_and_what_holds_it_the_worst() {
        let exit = |asked: &[Asked]| verdict(asked).map_err(|failure| failure.exit());
        // Each of them has one more destroyed payload pending: it is not the one in question.
        assert_eq!(exit(&[answer(1, &["clean"]), answer(2, &["clean"])]), Ok(()));
        assert_eq!(exit(&[answer(1, &["clean"]), answer(2, &[])]), Err(Exit::Refused));
        assert_eq!(exit(&[answer(1, &["clean"]), away(3)]), Err(Exit::Unreachable));
        assert_eq!(exit(&[away(3), answer(2, &["unreadable"])]), Err(Exit::Refused));
        let failure =
            verdict(&[away(3), answer(2, &["clean", "unreadable", "holds"])]).unwrap_err();
        assert_eq!(failure.to_string(), "1 of the files still hold the payload");
    }

    #[test]
    fn nodes_and_their_files_are_tables() {
        let asked = [answer(1, &["holds", "unreadable"]), away(3)];
        let expected = "\
+------+-------+---------+------------+-------------+----------------------------------+
| NODE | FILES | HOLD IT | UNREADABLE | ANY PENDING | MARK                             |
+------+-------+---------+------------+-------------+----------------------------------+
| 1    | 2     | 1       | 1          | 1           | abababababababababababababababab |
| 3    | -     | -       | -          | away        | n3:1 did not answer in time      |
+------+-------+---------+------------+-------------+----------------------------------+
";
        assert_eq!(nodes_table(&asked).render(), expected);
        let expected = "\
+------+---------------------+-------+--------------------------+
| NODE | FILE                | BYTES | FINDING                  |
+------+---------------------+-------+--------------------------+
| 1    | raft/holds.sst      | 9     | holds                    |
| 1    | raft/unreadable.sst | 9     | unreadable: no such luck |
+------+---------------------+-------+--------------------------+
";
        assert_eq!(files_table(&asked).render(), expected);
    }

    #[test]
    fn what_a_success_says_nothing_of_is_said() {
        let member = |node_id| wire::MemberStatus { node_id, ..Default::default() };
        let members = vec![member(1), member(2), member(3)];
        let status = wire::StatusResponse { members, ..Default::default() };
        let (secret_id, version_id) = ("e6qs".to_owned(), "e6qv".to_owned());
        let verify = VerifyDestroyed { secret_id, version_id, nodes: Vec::new(), mark: None };
        let mut last = answer(2, &["clean"]);
        last.1.as_mut().unwrap().pending = 0;
        let told = verify.conclusion(&[answer(3, &["clean"]), last], &status);
        let expected = "\
version e6qv of e6qs is in no file of node 2, 3
not asked, so not known: node 1
destroyed payloads pending on node 3: 1; nothing is said of others than this one
";
        assert_eq!(told, expected);
    }

    #[test]
    fn the_node_that_is_named_is_asked_first_and_only_members_are() {
        let member = |node_id| wire::MemberStatus { node_id, ..Default::default() };
        let members = vec![member(1), member(2), member(3)];
        let status = wire::StatusResponse { node_id: 2, members, ..Default::default() };
        let ask = |nodes: &[u64]| {
            let (secret_id, version_id) = (String::new(), String::new());
            let verify =
                VerifyDestroyed { secret_id, version_id, nodes: nodes.to_vec(), mark: None };
            let members = verify.members(&status)?;
            Ok::<_, Failure>(members.iter().map(|member| member.node_id).collect::<Vec<_>>())
        };
        assert_eq!(ask(&[]).unwrap(), [2, 1, 3]);
        assert_eq!(ask(&[3, 1]).unwrap(), [1, 3]);
        assert_eq!(ask(&[4]).unwrap_err().exit(), Exit::Usage);
    }
}

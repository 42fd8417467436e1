//! `lockbox admin keyring rotate | status`, asked of the leader: it makes the key, and knows how
//! far the rotation has come.

use clap::Subcommand;
use lockbox_proto::lockbox::cluster::v1 as wire;
use wire::admin_service_client::AdminServiceClient;

use crate::cli::failure::Failure;
use crate::cli::output::{self, Format, Record, Table};
use crate::cli::peer::PeerTarget;

/// What is to be done with the keyring.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum KeyringCommand {
    /// Begins a rotation: a new key, wrapped by the KMS, takes the place of the active one.
    ///
    /// The cluster goes on by itself, through failovers; `keyring status` shows how far it is.
    /// Secrets stay readable all the time.
    Rotate,
    /// Shows every key of the keyring, what it waits for, and how many data keys have moved.
    Status,
}

impl KeyringCommand {
    /// Asks the leader and prints what it says.
    pub(super) fn run(&self, target: &PeerTarget<'_>) -> Result<(), Failure> {
        let text = match self {
            Self::Rotate => rotate(target),
            Self::Status => status(target),
        };
        output::write(text?.as_bytes())
    }
}

fn ask(target: &PeerTarget<'_>) -> Result<wire::KeyringStatusResponse, Failure> {
    target.ask_leader(&wire::KeyringStatusRequest {}, async |channel, request| {
        AdminServiceClient::new(channel).keyring_status(request).await
    })
}

fn rotate(target: &PeerTarget<'_>) -> Result<String, Failure> {
    // The key that is to go is named, so that a call that is sent again makes no second one.
    let request = wire::RotateKeyringRequest { active_key_id: ask(target)?.active_key_id };
    let answer = target.ask_leader(&request, async |channel, request| {
        AdminServiceClient::new(channel).rotate_keyring(request).await
    })?;
    output::one(target.format, &Record::of(&answer)?)
}

fn status(target: &PeerTarget<'_>) -> Result<String, Failure> {
    let status = ask(target)?;
    match target.format {
        Format::Text => {
            let progress = status.progress.unwrap_or_default();
            Ok(keys_table(&status.keys).render() + &progress_table(&progress).render())
        }
        format @ (Format::Yaml | Format::Json | Format::JsonRest) => {
            output::one(format, &Record::of(&status)?)
        }
    }
}

fn keys_table(keys: &[wire::KeyringKey]) -> Table {
    let row = |key: &wire::KeyringKey| {
        let waits: Vec<String> = key.waits_for.iter().map(u64::to_string).collect();
        vec![
            key.key_id.to_string(),
            key.purpose.clone(),
            key.stage.clone(),
            key.staged_at_index.to_string(),
            if waits.is_empty() { "-".to_owned() } else { waits.join(", ") },
        ]
    };
    Table {
        columns: vec!["KEY", "PURPOSE", "STAGE", "SINCE ENTRY", "WAITS FOR NODES"],
        rows: keys.iter().map(row).collect(),
    }
}

fn progress_table(progress: &wire::RewrapProgress) -> Table {
    let running = if progress.running { "yes" } else { "no" };
    Table {
        columns: vec!["RUNNING", "EXAMINED", "OF", "REWRAPPED", "UNREADABLE"],
        rows: vec![vec![
            running.to_owned(),
            progress.examined.to_string(),
            progress.versions.to_string(),
            progress.rewrapped.to_string(),
            progress.unreadable.to_string(),
        ]],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_shows_whom_it_waits_for() {
        let keys = [
            wire::KeyringKey {
                key_id: 1,
                purpose: "wrap-data-keys".to_owned(),
                stage: "activated".to_owned(),
                ..Default::default()
            },
            wire::KeyringKey {
                key_id: 4,
                purpose: "wrap-data-keys".to_owned(),
                stage: "added".to_owned(),
                staged_at_index: 17,
                waits_for: vec![2, 3],
                ..Default::default()
            },
        ];
        let expected = "\
+-----+----------------+-----------+-------------+-----------------+
| KEY | PURPOSE        | STAGE     | SINCE ENTRY | WAITS FOR NODES |
+-----+----------------+-----------+-------------+-----------------+
| 1   | wrap-data-keys | activated | 0           | -               |
| 4   | wrap-data-keys | added     | 17          | 2, 3            |
+-----+----------------+-----------+-------------+-----------------+
";
        assert_eq!(keys_table(&keys).render(), expected);
        let progress = wire::RewrapProgress { running: true, examined: 5, ..Default::default() };
        let row = progress_table(&progress).rows.remove(0);
        assert_eq!(row, ["yes", "5", "0", "0", "0"]);
    }
}

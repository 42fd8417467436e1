//! Snapshots, state hashes and the log: what a node tells of itself.

use std::collections::BTreeMap;

use lockbox_core::{KMS_AUDIT_ID, NodeId, ResourceKind};
use lockbox_platform::status::{ApiError, ErrorKind, Outcome, Precondition};
use lockbox_proto::lockbox::cluster::v1 as wire;
use lockbox_raft::domain::command::{Command, Envelope};
use lockbox_raft::replica::{Effect, LoggedEntry, LoggedPayload};
use lockbox_raft::store::{FamilyHash, TableHash};

use super::Work;
use crate::call::Call;
use crate::errors::{DecidedAt, unread};

/// Entries in one piece of the log, unless the caller wants fewer.
const LOG_PIECE: u64 = 1_000;

impl Work for wire::TakeSnapshotRequest {
    type Answer = wire::TakeSnapshotResponse;
    const EVENT: &'static str = "TakeSnapshot";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([("purge", self.purge.to_string())])
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let taken = call.app.replica.take_snapshot(self.purge, call.context.deadline).await;
        let taken = taken.map_err(unread)?;
        Ok(wire::TakeSnapshotResponse { snapshot_index: taken.index, purged_index: taken.purged })
    }
}

impl Work for wire::StateHashRequest {
    type Answer = wire::StateHashResponse;
    const EVENT: &'static str = "GetStateHash";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([("at_index", self.at_index.to_string())])
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let hashed = call.app.replica.state_hash(self.at_index, call.context.deadline).await;
        let hashed = hashed.map_err(unread)?;
        let at = DecidedAt { index: hashed.at.index, term: hashed.at.term };
        call.observe(at);
        if self.exact && at.index != self.at_index {
            return Err(gone_past(self.at_index, at));
        }
        Ok(wire::StateHashResponse {
            index: at.index,
            term: at.term,
            hash: hex::encode(hashed.hashes.hash),
            families: hashed.hashes.families.into_iter().map(family).collect(),
            node_id: call.app.config.node_id,
        })
    }
}

fn gone_past(wanted: u64, at: DecidedAt) -> ApiError {
    let description = format!("the state is at index {}, past {wanted}", at.index);
    let kind = "APPLIED_INDEX";
    let precondition =
        Precondition { kind, subject: wanted.to_string(), description: description.clone() };
    let kind = ErrorKind::FailedPrecondition(precondition);
    ApiError::new(kind, description, Outcome::from(at))
}

fn family(family: FamilyHash) -> wire::FamilyHash {
    let table = |table: TableHash| wire::TableHash {
        name: table.name.to_owned(),
        hash: hex::encode(table.hash),
        rows: table.rows,
    };
    wire::FamilyHash {
        name: family.name.to_owned(),
        hash: hex::encode(family.hash),
        rows: family.rows,
        tables: family.tables.into_iter().map(table).collect(),
    }
}

impl Work for wire::ReadLogRequest {
    type Answer = wire::ReadLogResponse;
    const EVENT: &'static str = "ReadLog";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([("from_index", self.from_index.to_string())])
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let limit = if self.limit == 0 { LOG_PIECE } else { self.limit.into() };
        let replica = &call.app.replica;
        let piece = replica.read_log(self.from_index, limit).await.map_err(unread)?;
        let cluster_id = replica.status().cluster_id;
        call.observe(DecidedAt { index: piece.applied.index, term: piece.applied.term });
        Ok(wire::ReadLogResponse {
            node_id: call.app.config.node_id,
            cluster_id,
            begins_at: piece.begins_at,
            committed_index: piece.applied.index,
            entries: piece.entries.into_iter().map(entry).collect(),
            next_index: piece.next.unwrap_or_default(),
        })
    }
}

fn entry(entry: LoggedEntry) -> wire::LoggedEntry {
    let at = wire::LoggedEntry { index: entry.index, term: entry.term, ..Default::default() };
    match entry.payload {
        LoggedPayload::Blank => wire::LoggedEntry { kind: "blank".to_owned(), ..at },
        LoggedPayload::Command { envelope, effect } => command(at, &envelope, effect),
        LoggedPayload::Membership { voter_sets, learners } => {
            let voter_sets = voter_sets.into_iter().map(|node_ids| wire::VoterSet { node_ids });
            let membership = wire::LoggedMembership { voter_sets: voter_sets.collect(), learners };
            let kind = "membership".to_owned();
            wire::LoggedEntry { kind, membership: Some(membership), ..at }
        }
    }
}

/// What is told of a command: names of things, never what is in them.
fn command(
    at: wire::LoggedEntry,
    envelope: &Envelope,
    effect: Option<Effect>,
) -> wire::LoggedEntry {
    let makes_operation = effect.is_some();
    let effect = match effect {
        None => "",
        Some(Effect::Applied) => "applied",
        Some(Effect::Repeated) => "repeated",
        Some(Effect::Refused) => "refused",
    };
    let (secret_id, version_id, detail) = names(&envelope.command);
    let key = envelope.idempotency.as_ref().map(|claim| claim.key.clone());
    wire::LoggedEntry {
        kind: envelope.command.name().to_owned(),
        secret_id,
        version_id,
        operation_id: if makes_operation {
            envelope.operation_id.to_string()
        } else {
            String::new()
        },
        request_id: envelope.request_id.to_string(),
        subject: envelope.subject.to_string(),
        idempotency_key: key.unwrap_or_default(),
        log_time_ms: envelope.proposed_at.as_ms(),
        effect: effect.to_owned(),
        detail,
        ..at
    }
}

/// The secret and the version that a command names, and the one word that it sets beside them.
fn names(command: &Command) -> (String, String, String) {
    let none = String::new;
    match command {
        Command::CreateSecret(create) => {
            let version = create.version.as_ref().map(|version| version.id.to_string());
            (create.id.to_string(), version.unwrap_or_default(), create.folder_id.to_string())
        }
        Command::AddVersion(add) => (add.secret_id.to_string(), add.version.id.to_string(), none()),
        Command::SetCurrentVersion { secret_id, version_id }
        | Command::ScheduleVersionDestruction { secret_id, version_id, .. }
        | Command::CancelVersionDestruction { secret_id, version_id } => {
            (secret_id.to_string(), version_id.to_string(), none())
        }
        Command::DestroyVersion(due) => {
            (due.secret_id.to_string(), due.version_id.to_string(), none())
        }
        Command::UpdateSecret { secret_id, .. } | Command::DeleteSecret { secret_id } => {
            (secret_id.to_string(), none(), none())
        }
        Command::SetSecretStatus { secret_id, status } => {
            (secret_id.to_string(), none(), format!("{status:?}").to_lowercase())
        }
        Command::SetAccessBindings { resource, .. }
        | Command::UpdateAccessBindings { resource, .. } => {
            if resource.kind == ResourceKind::Secret {
                return (resource.id.clone(), none(), none());
            }
            (none(), none(), format!("{} {}", resource.kind.audit_name(), resource.id))
        }
        Command::CreateServiceAccount(create) => (none(), none(), create.id.to_string()),
        Command::CreateAuthorizedKey(create) => (none(), none(), create.id.to_string()),
        Command::UpdateServiceAccount { service_account_id, .. }
        | Command::DeleteServiceAccount { service_account_id }
        | Command::SetServiceAccountStatus { service_account_id, .. } => {
            (none(), none(), service_account_id.to_string())
        }
        Command::RevokeToken(revoke) => (none(), none(), revoke.token_id.to_string()),
        Command::UpdateAuthorizedKey { key_id, .. } | Command::DeleteAuthorizedKey { key_id } => {
            (none(), none(), key_id.to_string())
        }
        Command::CreateCloud(create) => (none(), none(), create.id.to_string()),
        Command::UpdateCloud { cloud_id, .. } => (none(), none(), cloud_id.to_string()),
        Command::CreateFolder(create) => (none(), none(), create.id.to_string()),
        Command::UpdateFolder { folder_id, .. } => (none(), none(), folder_id.to_string()),
        Command::RecoverAdmin(recover) => (none(), none(), recover.key_id.to_string()),
        Command::AnchorAuditHead(head) => {
            (none(), none(), format!("{} record {}", audit_of(head.node_id), head.sequence))
        }
        Command::ReportReads(report) => {
            (none(), none(), format!("node {} report {}", report.node_id, report.sequence))
        }
        Command::AttestKms(told) => {
            (none(), none(), format!("epoch {} commit {}", told.epoch, told.head))
        }
        Command::RaiseFeatureLevel { level } => (none(), none(), format!("level {level}")),
        Command::AddKeyringKey(key) => (none(), none(), format!("key {}", key.id)),
        Command::ConfirmKeyringKey { key_id, stage, node_id } => {
            (none(), none(), format!("key {key_id} {} node {node_id}", stage.name()))
        }
        Command::StepKeyringKey { key_id, to } => {
            (none(), none(), format!("key {key_id} {}", to.name()))
        }
        Command::RewrapKeyringKey(rewrap) => (none(), none(), format!("key {}", rewrap.key_id)),
        Command::RewrapDataKeys(rewraps) => {
            (none(), none(), format!("{} data keys", rewraps.len()))
        }
        Command::SetRetention { bytes_max } => (none(), none(), format!("{bytes_max} bytes")),
        Command::ReportStateHash { index, report } => {
            (none(), none(), format!("node {} entry {index}", report.node_id))
        }
        Command::InitCluster(_) | Command::AdvanceTime | Command::BeginStateCheck => {
            (none(), none(), none())
        }
    }
}

/// Whose audit a head is of.
fn audit_of(node_id: NodeId) -> String {
    match node_id {
        KMS_AUDIT_ID => "kms".to_owned(),
        node_id => format!("node {node_id}"),
    }
}

#[cfg(test)]
mod tests {
    use lockbox_core::ResourceRef;

    use super::*;

    #[test]
    fn bindings_name_the_secret_that_they_are_on() {
        let set = |kind, id| {
            let resource = ResourceRef::new(kind, id);
            names(&Command::SetAccessBindings { resource, bindings: Vec::new() })
        };
        assert_eq!(
            set(ResourceKind::Secret, "e6q1"),
            ("e6q1".into(), String::new(), String::new())
        );
        let (secret, _, detail) = set(ResourceKind::Folder, "b1g1");
        assert_eq!((secret.as_str(), detail.ends_with("b1g1")), ("", true));
    }
}

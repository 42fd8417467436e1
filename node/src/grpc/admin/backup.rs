//! Backups, for the operator: made, read piece by piece, stored and listed.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;

use lockbox_platform::sealed_file::Recipient;
use lockbox_platform::status::{ApiError, ErrorKind, Outcome, Precondition};
use lockbox_proto::lockbox::cluster::v1 as wire;

use super::Work;
use crate::backup::BackupError;
use crate::backup::destination::{Destination, Stored};
use crate::backup::destroyed_list::make_list;
use crate::backup::make::{Order, make};
use crate::backup::schedule::stored;
use crate::backup::spool::{Description, Spool};
use crate::call::Call;

/// Bytes of one piece: a message may have four megabytes.
const PIECE_BYTES: usize = 3 << 20;

fn ids(backup_id: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([("backup_id", backup_id.to_owned())])
}

impl Work for wire::MakeBackupRequest {
    type Answer = wire::Backup;
    const EVENT: &'static str = "MakeBackup";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        let recipients = self.recipients.join(",");
        let (under_kms, stale) = (self.under_kms.to_string(), self.stale.to_string());
        let mut ids = ids(&self.backup_id);
        ids.extend([("recipients", recipients), ("under_kms", under_kms), ("stale", stale)]);
        ids
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let mut backup_id = [0; 16];
        hex::decode_to_slice(&self.backup_id, &mut backup_id)
            .map_err(|error| ApiError::invalid("backup_id", error.to_string()))?;
        let config = &call.app.config.backup;
        let of_config = self.recipients.is_empty() && !self.under_kms;
        let texts = if of_config { &config.recipients } else { &self.recipients };
        let recipients = texts.iter().map(|text| Recipient::parse(text));
        let recipients = recipients.collect::<Result<Vec<_>, _>>();
        let recipients =
            recipients.map_err(|error| ApiError::invalid("recipients", error.to_string()))?;
        let under_kms = if of_config { config.under_kms } else { self.under_kms };
        let order = Order { backup_id, recipients, under_kms, stale: self.stale };
        make(call.app, &order, call.context.deadline).await.map(described)
    }
}

fn described(description: Description) -> wire::Backup {
    wire::Backup {
        backup_id: description.backup_id,
        name: description.name,
        bytes: description.bytes,
        cluster_id: description.cluster_id,
        node_id: description.node_id,
        index: description.index,
        term: description.term,
        log_time_ms: description.log_time_ms,
        made_at_ms: description.made_at_ms,
        destroyed: description.erasures,
        rows: description.rows,
        signer: description.signer,
        sealed_for: description.sealed_for,
    }
}

/// The backup of this id, in the spool of the node.
fn found(spool: &Spool, backup_id: &str) -> Result<Description, ApiError> {
    let found = spool.find(backup_id).map_err(|error| ApiError::internal(error.to_string()))?;
    found.ok_or_else(|| {
        let kind = ErrorKind::NotFound { resource_type: "backup", id: backup_id.to_owned() };
        let message = "this node has no such backup; it keeps one for an hour at most";
        ApiError::new(kind, message, Outcome::NotProposed)
    })
}

impl Work for wire::ReadBackupRequest {
    type Answer = wire::ReadBackupResponse;
    const EVENT: &'static str = "ReadBackup";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        let mut ids = ids(&self.backup_id);
        ids.insert("offset", self.offset.to_string());
        ids
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let spool = Spool::of(&call.app.config.data_dir);
        let Description { backup_id, bytes: total_bytes, .. } = found(&spool, &self.backup_id)?;
        let left = total_bytes.saturating_sub(self.offset);
        let wanted = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let (path, offset) = (spool.file(&backup_id), self.offset);
        let reading = tokio::task::spawn_blocking(move || {
            let mut data = vec![0; wanted];
            std::fs::File::open(path)?.read_exact_at(&mut data, offset).map(|()| data)
        });
        match reading.await {
            Ok(Ok(data)) => Ok(wire::ReadBackupResponse { data, total_bytes }),
            Ok(Err(error)) => Err(ApiError::internal(error.to_string())),
            Err(panic) => Err(ApiError::internal(panic.to_string())),
        }
    }
}

impl Work for wire::StoreBackupRequest {
    type Answer = wire::StoreBackupResponse;
    const EVENT: &'static str = "StoreBackup";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        ids(&self.backup_id)
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let place = place(call)?;
        let description = found(&Spool::of(&call.app.config.data_dir), &self.backup_id)?;
        stored(call.app, &place, &description).await.map_err(|error| unavailable(&error))?;
        Ok(wire::StoreBackupResponse { name: description.name })
    }
}

impl Work for wire::DropBackupRequest {
    type Answer = wire::DropBackupResponse;
    const EVENT: &'static str = "DropBackup";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        ids(&self.backup_id)
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        // Else one that is being made would lose its file.
        let _turn = call.app.backups.take()?;
        let dropped = Spool::of(&call.app.config.data_dir).drop_backup(&self.backup_id);
        dropped.map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(wire::DropBackupResponse {})
    }
}

impl Work for wire::ListBackupsRequest {
    type Answer = wire::ListBackupsResponse;
    const EVENT: &'static str = "ListBackups";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::new()
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let files = place(call)?.list().await.map_err(|error| unavailable(&error))?;
        let file = |stored: Stored| {
            let (name, bytes) = (stored.name, stored.bytes);
            wire::StoredFile { name, bytes }
        };
        let node_id = call.app.config.node_id;
        Ok(wire::ListBackupsResponse { node_id, files: files.into_iter().map(file).collect() })
    }
}

impl Work for wire::ListDestroyedRequest {
    type Answer = wire::ListDestroyedResponse;
    const EVENT: &'static str = "ListDestroyed";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([("after", self.after.to_string())])
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let deadline = call.context.deadline;
        let (list, content) = make_list(call.app, self.after, deadline).await?;
        let name = list.name().file_name();
        Ok(wire::ListDestroyedResponse { name, upto: list.upto, content })
    }
}

/// The place of the node's configuration.
fn place(call: &Call<'_>) -> Result<Destination, ApiError> {
    let place = Destination::of(&call.app.config.backup).map_err(|error| unavailable(&error))?;
    place.ok_or_else(|| {
        let description = "the configuration of this node names no place for backups";
        let (kind, subject) = ("BACKUP", "backup.directory".to_owned());
        let precondition = Precondition { kind, subject, description: description.to_owned() };
        let kind = ErrorKind::FailedPrecondition(precondition);
        ApiError::new(kind, description, Outcome::NotProposed)
    })
}

fn unavailable(error: &BackupError) -> ApiError {
    ApiError::unavailable(error.to_string())
}

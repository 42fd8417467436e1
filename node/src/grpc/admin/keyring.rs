//! The keyring as an operator sees it: a rotation begins, and how far one has come.

use std::collections::BTreeMap;

use lockbox_core::{LogTime, NodeId};
use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::cluster::v1 as wire;
use lockbox_raft::domain::keyring::{KeyPurpose, KeyStage, KeyringKeyRecord};
use lockbox_raft::error::StorageError;
use lockbox_raft::state::tables;
use lockbox_raft::store::View;

use super::Work;
use crate::call::Call;
use crate::errors::{DecidedAt, unread};
use crate::rotation::{self, Progress};

impl Work for wire::RotateKeyringRequest {
    type Answer = wire::RotateKeyringResponse;
    const EVENT: &'static str = "RotateKeyring";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([("active_key_id", self.active_key_id.to_string())])
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let begun = rotation::begin(call.app, self.active_key_id, call.context.deadline).await?;
        Ok(wire::RotateKeyringResponse { key_id: begun.key_id, begun: begun.made })
    }
}

impl Work for wire::KeyringStatusRequest {
    type Answer = wire::KeyringStatusResponse;
    const EVENT: &'static str = "GetKeyringStatus";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::new()
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let look = |view: &View<'_>, _: LogTime| {
            Ok::<_, StorageError>((tables::keyring(view)?, tables::member_ids(view)?))
        };
        let replica = &call.app.replica;
        let reading = replica.read(call.context.deadline, look).await.map_err(unread)?;
        let leads = replica.watch_leadership().current().is_leader;
        call.observe(DecidedAt { index: reading.index, term: reading.term });
        let looked = reading.value.map_err(|error| ApiError::internal(error.to_string()))?;
        let (keys, members) = looked;
        let active = |key: &&KeyringKeyRecord| {
            key.purpose == KeyPurpose::WrapDataKeys && key.stage == KeyStage::Activated
        };
        Ok(wire::KeyringStatusResponse {
            node_id: call.app.config.node_id,
            leads,
            active_key_id: keys.iter().find(active).map(|key| key.id).unwrap_or_default(),
            keys: keys.iter().map(|key| told(key, &members)).collect(),
            progress: Some(progress(call.app.rotation.progress())),
        })
    }
}

fn told(key: &KeyringKeyRecord, members: &[NodeId]) -> wire::KeyringKey {
    let missing = members.iter().filter(|member| !key.confirmed_by.contains(member));
    let waits_for =
        if key.stage.awaits_members() { missing.copied().collect() } else { Vec::new() };
    wire::KeyringKey {
        key_id: key.id,
        purpose: key.purpose.name().to_owned(),
        stage: key.stage.name().to_owned(),
        created_at_ms: key.created_at.as_ms(),
        staged_at_index: key.staged_at,
        wrapped_at_index: key.wrapped_at,
        confirmed_by: key.confirmed_by.clone(),
        waits_for,
    }
}

const fn progress(progress: Progress) -> wire::RewrapProgress {
    wire::RewrapProgress {
        running: progress.running,
        examined: progress.examined,
        versions: progress.versions,
        rewrapped: progress.rewrapped,
        unreadable: progress.unreadable,
    }
}

//! A node that is to forget its keys, and to get them back.

use std::collections::BTreeMap;
use std::time::Duration;

use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::cluster::v1 as wire;
use tokio::time::Instant;

use super::Work;
use crate::call::Call;
use crate::grpc::cluster::sealed_reason;
use crate::seal_mark::SealMark;

/// How long an answer waits for the KMS; the node goes on trying after it.
const UNSEAL_WAIT: Duration = Duration::from_secs(10);

impl Work for wire::SealRequest {
    type Answer = wire::SealResponse;
    const EVENT: &'static str = "SealNode";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::new()
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        // ORDER: at once in memory, for that is what is asked for; then for the next start as well.
        call.app.keyring.hold();
        tracing::warn!("an operator has sealed the node");
        SealMark::of(&call.app.config.data_dir).set().map_err(|error| unmarked(&error))?;
        Ok(answer(call))
    }
}

impl Work for wire::UnsealRequest {
    type Answer = wire::SealResponse;
    const EVENT: &'static str = "UnsealNode";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::new()
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        SealMark::of(&call.app.config.data_dir).clear().map_err(|error| unmarked(&error))?;
        let mut changes = call.app.keyring.changes();
        if call.app.keyring.is_held() {
            call.app.keyring.release();
            tracing::info!("an operator lets the node be unsealed");
        }
        let by = call.context.deadline.min(Instant::now() + UNSEAL_WAIT);
        while call.app.keyring.is_sealed() {
            match tokio::time::timeout_at(by, changes.changed()).await {
                Ok(Ok(())) => {}
                // The answer says what is still missing.
                Ok(Err(_)) | Err(_) => break,
            }
        }
        Ok(answer(call))
    }
}

fn answer(call: &Call<'_>) -> wire::SealResponse {
    wire::SealResponse {
        node_id: call.app.config.node_id,
        sealed: call.app.keyring.is_sealed(),
        reason: sealed_reason(call.app),
    }
}

/// The disk does not keep what the operator wants for the next start.
fn unmarked(error: &std::io::Error) -> ApiError {
    ApiError::internal(format!("the node cannot remember whether it is sealed: {error}"))
}

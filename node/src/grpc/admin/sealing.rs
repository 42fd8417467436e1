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
/// How long an answer waits for calls under way and for their answers; they end by themselves after
/// it.
const END_WAIT: Duration = Duration::from_secs(10);
/// What an answer needs of its caller's time to get there.
const ANSWER_TIME: Duration = Duration::from_millis(500);

impl Work for wire::SealRequest {
    type Answer = wire::SealResponse;
    const EVENT: &'static str = "SealNode";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::new()
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let keyring = &call.app.keyring;
        let turn = keyring.turn().await;
        // ORDER: at once in memory, for that is what is asked for; then for the next start as well.
        keyring.hold();
        tracing::warn!("an operator has sealed the node");
        let marked = SealMark::of(&call.app.config.data_dir).set();
        drop(turn);
        // Nothing that was made with the keys is handed to a connection after the answer.
        let ended = keyring.ended(by(call, END_WAIT)).await;
        // ORDER: then what the KMS has answered leaves the buffers of the connection.
        call.app.kms.renew_connection();
        // The node is sealed all the same, but only until it is started again.
        marked.map_err(|error| unmarked(&error))?;
        let mut answer = answer(call);
        if let Err(under_way) = ended {
            answer.reason = format!("{}; {under_way}", answer.reason);
        }
        Ok(answer)
    }
}

impl Work for wire::UnsealRequest {
    type Answer = wire::SealResponse;
    const EVENT: &'static str = "UnsealNode";

    fn ids(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::new()
    }

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Answer, ApiError> {
        let turn = call.app.keyring.turn().await;
        SealMark::of(&call.app.config.data_dir).clear().map_err(|error| unmarked(&error))?;
        let mut changes = call.app.keyring.changes();
        if call.app.keyring.is_held() {
            call.app.keyring.release();
            tracing::info!("an operator lets the node be unsealed");
        }
        drop(turn);
        let by = by(call, UNSEAL_WAIT);
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

/// So long from now on, or as long as the caller waits for an answer.
fn by(call: &Call<'_>, wait: Duration) -> Instant {
    let deadline = call.context.deadline;
    deadline.checked_sub(ANSWER_TIME).unwrap_or(deadline).min(Instant::now() + wait)
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

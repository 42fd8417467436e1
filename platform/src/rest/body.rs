//! Reading the body of a request, bounded in bytes and in time, each and all together.

use std::sync::Arc;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::body_budget::Share;
use crate::request::{DEADLINE_DEFAULT, RequestContext};
use crate::status::{ApiError, ErrorKind, Outcome};

/// The largest JSON body, in bytes: a payload of 64 KiB in base64 with its keys fits many times.
const BODY_BYTES_MAX: usize = 1 << 20;
/// How much of one that is not kept is read and dropped, in bytes, before the answer. Over HTTP/2
/// most clients take an answer to half a request for a broken stream, and never see what was wrong.
const READ_BYTES_MAX: usize = 8 * BODY_BYTES_MAX;

/// The whole body, within what `share` may grow to; `context` says whose it is. One that is announced
/// as far too long is not waited for.
///
/// # Errors
/// INVALID_ARGUMENT when it is too long, DEADLINE_EXCEEDED or CANCELLED when it does not arrive,
/// RESOURCE_EXHAUSTED when too much is in memory.
pub(super) async fn read(
    body: Body,
    share: &mut Share,
    context: impl Fn() -> Arc<RequestContext>,
) -> Result<Bytes, ApiError> {
    if body.size_hint().lower() > READ_BYTES_MAX as u64 {
        return Err(too_long());
    }
    let collected = tokio::time::timeout(DEADLINE_DEFAULT, collect(body, share, context)).await;
    collected.unwrap_or_else(|_elapsed| {
        let message = "the body did not arrive in time";
        Err(ApiError::new(ErrorKind::DeadlineExceeded, message, Outcome::NotProposed))
    })
}

async fn collect(
    mut body: Body,
    share: &mut Share,
    context: impl Fn() -> Arc<RequestContext>,
) -> Result<Bytes, ApiError> {
    let mut kept = BytesMut::new();
    let mut read = 0_usize;
    let mut refused = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_broken| {
            ApiError::new(ErrorKind::Cancelled, "the body did not arrive", Outcome::NotProposed)
        })?;
        // Trailers mean nothing here.
        let Ok(data) = frame.into_data() else { continue };
        read = read.saturating_add(data.len());
        if read > READ_BYTES_MAX {
            break;
        }
        if read <= BODY_BYTES_MAX && refused.is_none() {
            refused = share.grow(data.len(), &context).err();
        }
        if read > BODY_BYTES_MAX || refused.is_some() {
            kept = BytesMut::new();
            share.clear();
        } else {
            kept.extend_from_slice(&data);
        }
    }
    if let Some(full) = refused {
        return Err(full);
    }
    if read > BODY_BYTES_MAX {
        return Err(too_long());
    }
    Ok(kept.freeze())
}

fn too_long() -> ApiError {
    ApiError::invalid("body", format!("is longer than {BODY_BYTES_MAX} bytes"))
}

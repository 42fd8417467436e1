//! Errors as JSON: `{"code", "message", "details"}` with the HTTP status of the code
//! (`contract §0.4`, `§5.1`).

use axum::body::Body;
use http::{Response, header};
use prost::Name;
use prost_reflect::{DescriptorPool, DynamicMessage};
use tonic::Status;

use super::transcode::{JSON, copy_own, to_json};
use crate::status::http_status;

/// The answer for a status.
pub(super) fn error_response(status: &Status, pool: &DescriptorPool) -> Response<Body> {
    let json = body(status, pool).unwrap_or_else(|| {
        let plain = serde_json::json!({
            "code": i32::from(status.code()), "message": status.message(), "details": [],
        });
        plain.to_string().into_bytes()
    });
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = http_status(status.code());
    copy_own(status.metadata().as_ref(), response.headers_mut());
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// `google.rpc.Status` in JSON; `None` when the status carries no details that we know.
fn body(status: &Status, pool: &DescriptorPool) -> Option<Vec<u8>> {
    if status.details().is_empty() {
        return None;
    }
    let descriptor = pool.get_message_by_name(&lockbox_proto::google::rpc::Status::full_name())?;
    let message = DynamicMessage::decode(descriptor, status.details()).ok()?;
    to_json(&message)
}

//! One gRPC call in process: a frame in, a frame or a status out.
//!
//! Promises: the call goes through the router as a client's would, with the headers that mean
//! something to a service and the connection that the REST request came over.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body_util::BodyExt;
use tonic::{Code, Status};

use crate::headers;
use crate::http_service::HttpService;
use crate::listener::ConnectionInfo;
use crate::status::ApiError;
use crate::unhandled::Undecoded;
use crate::until_sent::UntilSent;

/// Flag and length before a message in gRPC.
const FRAME_HEAD_BYTES: usize = 5;
/// What stands for a message that could not be made: no field has the number 0, so that nobody
/// takes it for a message, whatever the method.
const NO_MESSAGE: &[u8] = &[0];
/// The headers of a REST request that a service may see.
const FORWARDED: [&str; 11] = [
    headers::AUTHORIZATION,
    headers::IDEMPOTENCY_KEY,
    headers::REQUEST_ID,
    headers::CLIENT_REQUEST_ID,
    headers::CLIENT_TRACE_ID,
    headers::RETRY_ATTEMPT,
    headers::IF_VERSION,
    headers::CONSISTENCY,
    headers::MIN_INDEX,
    headers::USER_AGENT,
    headers::GRPC_TIMEOUT,
];

/// What a service answered.
pub(super) struct Answer {
    /// The encoded message, or why there is none.
    pub(super) result: Result<Bytes, Status>,
    /// Headers and trailers together.
    pub(super) headers: HeaderMap,
    /// What has to stay until the answer is sent.
    pub(super) held: Option<UntilSent>,
}

/// Calls the method with an encoded message, or with what is wrong with the request for it: who
/// calls is looked at first, and the call is recorded and counted like any other.
pub(super) async fn call(
    grpc: &HttpService,
    grpc_path: &'static str,
    message: Result<Vec<u8>, ApiError>,
    rest: &Parts,
) -> Result<Answer, ApiError> {
    let request = match message {
        Ok(message) => grpc_request(grpc_path, &message, rest)?,
        Err(error) => {
            let mut request = grpc_request(grpc_path, NO_MESSAGE, rest)?;
            request.extensions_mut().insert(Undecoded::new(error));
            request
        }
    };
    let response = grpc.answer(request).await;
    let (mut parts, body) = response.into_parts();
    let held = parts.extensions.remove();
    let broken = || ApiError::internal("the answer broke off");
    let collected = body.collect().await.map_err(|_error| broken())?;
    let mut headers = parts.headers;
    if let Some(trailers) = collected.trailers() {
        headers.extend(trailers.clone());
    }
    let status = Status::from_header_map(&headers).ok_or_else(broken)?;
    let result = if status.code() == Code::Ok {
        Ok(unframe(&collected.to_bytes()).ok_or_else(broken)?)
    } else {
        Err(status)
    };
    Ok(Answer { result, headers, held })
}

fn grpc_request(
    grpc_path: &'static str,
    message: &[u8],
    rest: &Parts,
) -> Result<Request<Body>, ApiError> {
    let mut request = Request::new(Body::from(frame(message)?));
    *request.method_mut() = Method::POST;
    *request.version_mut() = http::Version::HTTP_2;
    *request.uri_mut() = http::Uri::from_static(grpc_path);
    let into = request.headers_mut();
    into.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    into.insert(header::TE, HeaderValue::from_static("trailers"));
    for name in FORWARDED {
        // All of them: what is said twice is the service's to refuse.
        for value in rest.headers.get_all(name) {
            into.append(name, value.clone());
        }
    }
    if let Some(connection) = rest.extensions.get::<ConnectionInfo>() {
        request.extensions_mut().insert(connection.clone());
    }
    Ok(request)
}

fn frame(message: &[u8]) -> Result<Bytes, ApiError> {
    let length = u32::try_from(message.len())
        .map_err(|_too_long| ApiError::invalid("body", "is too long"))?;
    let mut framed = BytesMut::with_capacity(FRAME_HEAD_BYTES + message.len());
    framed.extend_from_slice(&[0]);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    Ok(framed.freeze())
}

/// The single uncompressed message of a unary answer.
fn unframe(framed: &Bytes) -> Option<Bytes> {
    let head: [u8; FRAME_HEAD_BYTES] = framed.get(..FRAME_HEAD_BYTES)?.try_into().ok()?;
    let [compressed, length @ ..] = head;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    let whole = compressed == 0 && framed.len() == FRAME_HEAD_BYTES + length;
    whole.then(|| framed.slice(FRAME_HEAD_BYTES..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_what_they_were() {
        let framed = frame(b"message").expect("a frame");
        assert_eq!(&framed[..5], &[0, 0, 0, 0, 7]);
        assert_eq!(unframe(&framed), Some(Bytes::from_static(b"message")));
        assert_eq!(unframe(&framed.slice(..11)), None);
        assert_eq!(unframe(&Bytes::from_static(&[1, 0, 0, 0, 0])), None);
        assert_eq!(unframe(&Bytes::from_static(&[0, 0])), None);
    }
}

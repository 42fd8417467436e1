//! Answers to HEAD: the head that GET would have, and nothing after it (RFC 9110 §9.3.2).
//!
//! Over HTTP/1.1 hyper leaves the body out; over HTTP/2 it does not, and clients take one for a
//! broken protocol.

use axum::body::Body;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Response};
use http_body::Body as _;

/// The answer without its body, of which the length is told where it is known.
pub(super) fn head_alone(answer: Response<Body>) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    // Of a body that is gone already nothing is known.
    if let Some(length @ 1..) = body.size_hint().exact()
        && !parts.headers.contains_key(CONTENT_LENGTH)
    {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, Body::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_stays_and_the_body_goes() {
        let length = |answer: Response<Body>| {
            let head = head_alone(answer);
            assert!(head.body().is_end_stream());
            head.headers().get(CONTENT_LENGTH).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(length(Response::new(Body::from("seven b"))).as_deref(), Some("7"));
        assert_eq!(length(Response::new(Body::empty())), None);
        // As axum's own routes leave it.
        let mut told = Response::new(Body::empty());
        told.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("9"));
        assert_eq!(length(told).as_deref(), Some("9"));
    }
}

//! Fuzz targets: what strangers send before anybody knows them is read or refused, never a panic.
//!
//! `cargo test` runs each on random input; `cargo bolero test` fuzzes them (README).

use std::panic::AssertUnwindSafe;

use axum::body::Body;
use bolero::check;
use http::{Method, Request};
use http_body_util::BodyExt;
use lockbox_core::ClusterId;
use lockbox_platform::authorized_key::AuthorizedKeyFile;
use lockbox_platform::jwt::parse_unverified;
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::public_key::PublicKey;
use lockbox_platform::token::{TokenVerifier, mask};

use crate::fixtures::router;

#[test]
fn a_token_is_verified_or_refused() {
    let verifier = TokenVerifier::new(ClusterId::parse("cluster").unwrap(), [(1, [7; 32])]);
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        for token in [text.to_string(), format!("t1.{text}"), format!("t1.{text}.{text}")] {
            assert!(verifier.verify(&token).is_err(), "nobody has signed it");
            drop(mask(&token));
        }
    });
}

#[test]
fn a_login_is_read_or_refused() {
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        parse_unverified(&text).ok();
        // {"typ":"JWT","alg":"PS256","kid":"a"}
        let head = "eyJ0eXAiOiJKV1QiLCJhbGciOiJQUzI1NiIsImtpZCI6ImEifQ";
        parse_unverified(&format!("{head}.{text}.{text}")).ok();
    });
}

#[test]
fn a_key_file_is_read_or_refused() {
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        AuthorizedKeyFile::parse(&text).ok();
        PublicKey::parse(&text).ok();
        let framed = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
        PublicKey::parse(&framed).ok();
    });
}

/// The gateway: the path, the query and the body as JSON.
#[test]
fn a_rest_request_has_an_answer() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let metrics = Metrics::new(Prefix::Lockbox).unwrap();
    // Of one that has panicked the test asks nothing more.
    let router = AssertUnwindSafe(runtime.block_on(router(&metrics)));
    const PATHS: [(Method, &str); 6] = [
        (Method::GET, "/endpoints/"),
        (Method::GET, "/lockbox/v1/secrets:getEx?"),
        (Method::GET, "/operations/e6o1:"),
        (Method::POST, "/iam/v1/tokens"),
        (Method::POST, "/iam/v1/tokens:revoke"),
        (Method::DELETE, "/"),
    ];
    check!().with_type::<(u8, Vec<u8>, Vec<u8>)>().for_each(|(path, target, body)| {
        let (method, path) = PATHS[usize::from(*path) % PATHS.len()].clone();
        // What HTTP would refuse does not get as far as here.
        let printable = |byte: &u8| char::from(33 + byte % 94);
        let target: String = target.iter().map(printable).filter(|c| *c != '#').collect();
        let request = Request::builder().method(method).uri(format!("{path}{target}"));
        let Ok(request) = request.body(Body::from(body.clone())) else { return };
        let answer = runtime.block_on(async {
            let response = router.answer(request).await;
            assert_ne!(response.status().as_u16(), 500);
            response.into_body().collect().await.unwrap().to_bytes()
        });
        serde_json::from_slice::<serde_json::Value>(&answer).unwrap();
    });
}

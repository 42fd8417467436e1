//! Fuzz targets: what strangers send before anybody knows them is read or refused, never a panic.
//!
//! `cargo test` runs each on random input; `cargo bolero test` fuzzes them (README). Those named
//! `fuzz_` begin with a corpus ([`crate::fuzz`]): what is accepted is what was signed here.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::body::Body;
use bolero::check;
use http::{Method, Request};
use http_body_util::BodyExt;
use lockbox_core::{
    AuthorizedKeyId, ClusterId, LogTime, Sensitive, Subject, SubjectKind, TokenId, TokenMaker,
};
use lockbox_platform::authorized_key::{
    AuthorizedKeyFile, KeyAlgorithm, generate_key_pair, sign_jwt,
};
use lockbox_platform::jwt::{self, AUDIENCE, AcceptedAudiences, JwtError, parse_unverified};
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::public_key::PublicKey;
use lockbox_platform::token::{TokenClaims, TokenError, TokenSigner, TokenVerifier, mask};

use crate::fixtures::router;
use crate::fuzz::fuzz;

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
fn fuzz_a_token_is_verified_only_if_it_was_signed_here() {
    let cluster_id = ClusterId::parse("cluster").unwrap();
    let signer = TokenSigner::from_seed(1, &Sensitive::new([7; 32])).unwrap();
    let verifier = TokenVerifier::new(cluster_id.clone(), [(1, signer.public_key())]);
    let subject = |id: &str| Subject { kind: SubjectKind::ServiceAccount, id: id.to_owned() };
    let token_id = |id: &str| TokenId::parse(id).unwrap();
    let plain = TokenClaims {
        token_id: token_id("aittoken"),
        subject: subject("ajeaccount"),
        credential_id: None,
        issued_at: LogTime::from_ms(1_790_000_000_000),
        expires_at: LogTime::from_ms(1_790_043_200_000),
        cluster_id: cluster_id.clone(),
        maker: None,
    };
    let with_key =
        TokenClaims { credential_id: AuthorizedKeyId::parse("ajkkey").ok(), ..plain.clone() };
    let maker = TokenMaker { subject: subject("ajemaker"), token_id: token_id("aitmaker") };
    let made = TokenClaims { maker: Some(maker), ..with_key.clone() };
    let signed: Vec<Vec<u8>> = [plain, with_key, made]
        .iter()
        .map(|claims| signer.sign(claims).unwrap().expose().as_bytes().to_vec())
        .collect();
    fuzz("token", &signed, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        drop(mask(&text));
        let verified = verifier.verify(&text)?;
        assert!(signed.iter().any(|signed| signed == bytes), "nobody has signed it");
        assert_eq!(verified.claims.cluster_id, cluster_id);
        Ok::<_, TokenError>(())
    });
}

#[test]
fn fuzz_a_login_is_verified_only_if_it_was_signed_here() {
    const NOW_MS: u64 = 1_790_000_000_000;
    let pair = generate_key_pair(KeyAlgorithm::Rsa2048).unwrap();
    let file = AuthorizedKeyFile {
        id: "ajkkey".to_owned(),
        service_account_id: "ajeaccount".to_owned(),
        created_at: String::new(),
        key_algorithm: KeyAlgorithm::Rsa2048,
        public_key: String::new(),
        private_key: pair.private_key_pem.clone(),
    };
    let audiences = AcceptedAudiences::new(&["localhost:8443".to_owned()], &[]);
    let signed: Vec<Vec<u8>> = [AUDIENCE, "https://iam.localhost:8443/iam/v1/tokens", "nobody"]
        .iter()
        .map(|aud| sign_jwt(&file, aud, NOW_MS, Duration::from_secs(3600)).unwrap())
        .map(|jwt| jwt.expose().as_bytes().to_vec())
        .collect();
    fuzz("jwt", &signed, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let read = parse_unverified(&text)?;
        let verified = jwt::verify(&text, &pair.public_key_pem, &audiences, NOW_MS)?;
        assert!(signed.iter().any(|signed| signed == bytes), "nobody has signed it");
        assert_eq!(verified, read);
        Ok::<_, JwtError>(())
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

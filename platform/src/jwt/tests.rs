//! Tests of JWT verification.

use std::sync::OnceLock;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::authorized_key::{GeneratedKeyPair, KeyAlgorithm, generate_key_pair};

/// Seconds since the epoch at which the tests happen.
const NOW_S: u64 = 1_800_000_000;

fn key_pair() -> &'static GeneratedKeyPair {
    static PAIR: OnceLock<GeneratedKeyPair> = OnceLock::new();
    PAIR.get_or_init(|| generate_key_pair(KeyAlgorithm::Rsa2048).expect("a generated key"))
}

fn sign(algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    let pem = key_pair().private_key_pem.expose().as_bytes();
    let key = EncodingKey::from_rsa_pem(pem).expect("an RSA key");
    jsonwebtoken::encode(&header, claims, &key).expect("a signed JWT")
}

fn claims(aud: &Value, iat: u64, exp: u64) -> Value {
    json!({ "iss": "aje1", "aud": aud, "iat": iat, "exp": exp })
}

fn check(jwt: &str) -> Result<JwtHeaderClaims, JwtError> {
    let audiences = AcceptedAudiences::new(&["localhost:8443".to_owned()], &[]);
    verify(jwt, &key_pair().public_key_pem, &audiences, NOW_S * 1_000)
}

fn check_ps256(claims: &Value) -> Result<JwtHeaderClaims, JwtError> {
    check(&sign(Algorithm::PS256, Some("ajk1"), claims))
}

#[test]
fn every_way_to_write_the_audience_is_accepted() {
    let python = "https://iam.localhost:8443/iam/v1/tokens";
    for aud in [json!(AUDIENCE), json!([AUDIENCE]), json!(python), json!(["other", python])] {
        let verified = check_ps256(&claims(&aud, NOW_S, NOW_S + 3600));
        assert!(verified.is_ok_and(|c| c.kid == "ajk1" && c.iss == "aje1"), "{aud}");
    }
    for aud in [json!("https://iam.evil:8443/iam/v1/tokens"), json!([]), json!("")] {
        let refused = check_ps256(&claims(&aud, NOW_S, NOW_S + 3600));
        assert_eq!(refused, Err(JwtError::Audience), "{aud}");
    }
}

#[test]
fn other_algorithms_are_refused() {
    let fine = claims(&json!(AUDIENCE), NOW_S, NOW_S + 3600);
    for algorithm in [Algorithm::RS256, Algorithm::PS384, Algorithm::PS512] {
        let jwt = sign(algorithm, Some("ajk1"), &fine);
        assert_eq!(check(&jwt), Err(JwtError::Algorithm), "{algorithm:?}");
        assert_eq!(parse_unverified(&jwt), Err(JwtError::Algorithm), "{algorithm:?}");
    }
    // An HMAC keyed with the public key must not pass for a signature.
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("ajk1".to_owned());
    let key = EncodingKey::from_secret(key_pair().public_key_pem.as_bytes());
    let confused = jsonwebtoken::encode(&header, &fine, &key).expect("a JWT");
    assert_eq!(check(&confused), Err(JwtError::Algorithm));
}

#[test]
fn times_are_judged_by_the_given_time() {
    let cases = [
        (NOW_S, NOW_S + 3600, Ok(())),
        (NOW_S, NOW_S + 3601, Err(JwtError::Lifetime)),
        (NOW_S, NOW_S, Err(JwtError::Lifetime)),
        (NOW_S + 10, NOW_S + 5, Err(JwtError::Lifetime)),
        (NOW_S - 3600, NOW_S, Err(JwtError::Expired)),
        (NOW_S - 3599, NOW_S + 1, Ok(())),
        (NOW_S + 60, NOW_S + 120, Ok(())),
        (NOW_S + 61, NOW_S + 120, Err(JwtError::NotYetValid)),
    ];
    for (iat, exp, expected) in cases {
        let got = check_ps256(&claims(&json!(AUDIENCE), iat, exp)).map(|_| ());
        assert_eq!(got, expected, "iat {iat} exp {exp}");
    }
}

#[test]
fn a_wrong_signature_or_form_is_refused() {
    let fine = claims(&json!(AUDIENCE), NOW_S, NOW_S + 3600);
    let jwt = sign(Algorithm::PS256, Some("ajk1"), &fine);
    let audiences = AcceptedAudiences::new(&[], &[]);
    let other = generate_key_pair(KeyAlgorithm::Rsa2048).expect("a generated key");
    let refused = verify(&jwt, &other.public_key_pem, &audiences, NOW_S * 1_000);
    assert_eq!(refused, Err(JwtError::BadSignature));
    assert_eq!(verify(&jwt, "no key", &audiences, NOW_S * 1_000), Err(JwtError::BadKey));

    assert_eq!(check(&sign(Algorithm::PS256, None, &fine)), Err(JwtError::Malformed));
    assert_eq!(parse_unverified("a.b.c"), Err(JwtError::Malformed));
    assert_eq!(parse_unverified(&"a".repeat(8001)), Err(JwtError::TooLong));
    let no_issuer = json!({ "aud": AUDIENCE, "iat": NOW_S, "exp": NOW_S + 60 });
    let jwt = sign(Algorithm::PS256, Some("ajk1"), &no_issuer);
    assert_eq!(parse_unverified(&jwt), Err(JwtError::Malformed));
}

/// All the work of a verification is done: a key that cannot be used would be refused before it.
#[test]
fn a_verification_in_vain_gets_as_far_as_the_signature() {
    let jwt = sign(Algorithm::PS256, Some("ajk1"), &claims(&json!(AUDIENCE), NOW_S, NOW_S + 60));
    let nobody = AcceptedAudiences(BTreeSet::new());
    assert_eq!(verify(&jwt, DECOY_PEM, &nobody, NOW_S * 1_000), Err(JwtError::BadSignature));
    verify_in_vain(&jwt);
}

//! Items 1 and 2: how a client gets in.

use std::collections::BTreeSet;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lockbox_core::Clock;
use lockbox_platform::jwt::AUDIENCE;
use lockbox_platform::system::SystemClock;
use serde_json::{Value, json};

use crate::api::{Api, Robot, code, text};
use crate::transport::nothing;

/// Everything that `contract §0.1` lists.
const ENDPOINTS: [&str; 9] = [
    "endpoint",
    "iam",
    "operation",
    "lockbox",
    "lockbox-payload",
    "kms",
    "kms-crypto",
    "resource-manager",
    "resourcemanager",
];

/// List without a token gives all ids, each once; Get works with and without one.
pub(super) async fn discovery(api: Api) {
    let nameless = api.nameless();
    let listed = nameless.must("endpoint.ApiEndpointService/List", nothing()).await;
    let listed = listed["endpoints"].as_array().cloned().unwrap();
    let ids: Vec<String> = listed.iter().map(|endpoint| text(&endpoint["id"])).collect();
    let known: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(ids.len(), known.len(), "an id twice: {ids:?}");
    assert_eq!(known, ENDPOINTS.map(str::to_owned).into());
    for endpoint in &listed {
        let address = text(&endpoint["address"]);
        assert!(!address.contains('/') && address.contains(':'), "{address}");
    }
    for api in [&api, &nameless] {
        let request = json!({ "apiEndpointId": "lockbox-payload" });
        let found = api.must("endpoint.ApiEndpointService/Get", request).await;
        assert!(listed.contains(&found), "{found}");
    }
    let unknown = json!({ "apiEndpointId": "nowhere" });
    nameless.refused(code::NOT_FOUND, "endpoint.ApiEndpointService/Get", unknown).await;
}

/// A JWT as some client writes it.
fn jwt(robot: &Robot, algorithm: Algorithm, audience: &Value, issuer: &str, life: u64) -> String {
    let mut header = Header::new(algorithm);
    header.kid = Some(robot.key.id.clone());
    let now = SystemClock::new().wall_ms() / 1_000;
    let claims = json!({ "iss": issuer, "aud": audience, "iat": now, "exp": now + life });
    let key = EncodingKey::from_rsa_pem(robot.key.private_key.expose().as_bytes()).unwrap();
    jsonwebtoken::encode(&header, &claims, &key).unwrap()
}

/// Every audience that SDKs write is taken; another algorithm, a longer life and a key of another
/// account are not.
pub(super) async fn login(api: Api) {
    let robot = api.robot(&[]).await;
    let other = api.robot(&[]).await;
    let nameless = api.nameless();
    let create = "iam.v1.IamTokenService/Create";
    let python = format!("https://iam.localhost:{}/iam/v1/tokens", api.target.lockbox.port);
    for audience in [json!(AUDIENCE), json!([AUDIENCE]), json!(python)] {
        let jwt = jwt(&robot, Algorithm::PS256, &audience, &robot.id, 3600);
        let made = nameless.must(create, json!({ "jwt": jwt })).await;
        assert!(text(&made["iamToken"]).len() <= 4096);
        assert!(!text(&made["expiresAt"]).is_empty());
    }
    let constant = json!(AUDIENCE);
    let wrong = [
        jwt(&robot, Algorithm::RS256, &constant, &robot.id, 3600),
        jwt(&robot, Algorithm::PS256, &constant, &robot.id, 3601),
        jwt(&robot, Algorithm::PS256, &constant, &other.id, 3600),
        jwt(&robot, Algorithm::PS256, &json!("https://example.com/"), &robot.id, 3600),
        "nonsense".to_owned(),
    ];
    for jwt in wrong {
        nameless.refused(code::UNAUTHENTICATED, create, json!({ "jwt": jwt })).await;
    }
    nameless.refused(code::INVALID_ARGUMENT, create, nothing()).await;
}

//! What a node gives away to whom it does not serve (`peers.md` S3, S6, S7, S13, S17).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use lockbox::kms::{GeneratedDataKey, OpenedDataKey};
use lockbox::router::{self, OWN_SERVICES, PUBLIC_SERVICES};
use lockbox::seal::{SealedMessage, SymmetricKey};
use lockbox_core::{Clock, RequestMac, SensitiveBytes, SensitiveString};
use lockbox_platform::audit::AuditFile;
use lockbox_platform::system::SystemClock;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::{METHODS, descriptor_pool};
use lockbox_raft::store::FamilyHash;
use prost_reflect::{Kind, MessageDescriptor};
use tokio::time::Instant;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Status};

use crate::audit_disk::{Disk, Switch};
use crate::client::text;
use crate::compared::{Compared, Otherwise};
use crate::fixture::{Node, WAIT, bearing};
use crate::raw::Raw;

/// Discovery needs no token (`contract §5.1`).
const DISCOVERY: &str = "/yandex.cloud.endpoint.ApiEndpointService/";
/// A login is what gives a token.
const LOGIN: &str = "/yandex.cloud.iam.v1.IamTokenService/Create";

/// The hashes of all that calls can change: without the log's own time, which goes on by itself.
async fn state(node: &Node) -> Vec<FamilyHash> {
    let hashed = node.app.replica.state_hash(0, Instant::now() + WAIT).await.unwrap();
    let is_the_systems =
        |family: &FamilyHash| family.tables.iter().any(|table| table.name == "log_time");
    hashed.hashes.families.into_iter().filter(|family| !is_the_systems(family)).collect()
}

async fn call(node: &Node, path: &str, request: Request<Vec<u8>>) -> Result<Vec<u8>, Status> {
    let mut client = tonic::client::Grpc::new(node.channel.clone());
    client.ready().await.unwrap();
    let path: PathAndQuery = path.parse().unwrap();
    let answer = tokio::time::timeout(WAIT, client.unary(request, path, Raw)).await;
    answer.expect("an answer").map(tonic::Response::into_inner)
}

/// The paths of all methods of the public listener, by their definitions.
fn served() -> Vec<String> {
    let public = METHODS.iter().filter(|method| PUBLIC_SERVICES.contains(&method.service));
    let mut paths: Vec<String> = public.map(|method| method.grpc_path.to_owned()).collect();
    for service in OWN_SERVICES {
        let methods = descriptor_pool().get_service_by_name(service).unwrap();
        paths.extend(methods.methods().map(|method| format!("/{service}/{}", method.name())));
    }
    paths
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s03_without_a_good_token_no_method_does_anything() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let before = state(&node).await;
    // The first field of most requests is an id; a text that is none; nothing; the longest.
    let about_the_secret = [&[0x0a, u8::try_from(secret.id.len()).unwrap()], secret.id.as_bytes()];
    let messages = [about_the_secret.concat(), vec![0x0a, 0x7f], Vec::new(), vec![0x0a; 1 << 16]];
    let tokens = ["", "t1.9euelZqV.AAAA", "t1.", "🔑"];
    let mut refused = 0;
    for path in served() {
        if path.starts_with(DISCOVERY) {
            continue;
        }
        for (message, token) in messages.iter().zip(tokens) {
            let mut request = Request::new(message.clone());
            if let Ok(bearer) = format!("Bearer {token}").parse()
                && !token.is_empty()
            {
                request.metadata_mut().insert("authorization", bearer);
            }
            let status = call(&node, &path, request).await.unwrap_err();
            let of_a_login = path == LOGIN && status.code() == Code::InvalidArgument;
            let is_refused = matches!(status.code(), Code::Unauthenticated | Code::Unimplemented);
            assert!(of_a_login || is_refused, "{path}: {status:?}");
            refused += 1;
        }
    }
    assert!(refused > 150, "{refused}: this test reaches nothing any more");
    assert_eq!(state(&node).await, before);
    node.stop().await;
}

/// Contract §13 no. 15: of a foreign id a caller learns that it exists, and nothing else. Where a
/// tenant must not even learn that, its secrets belong into an installation of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s06_of_another_tenants_secret_nothing_shows_but_that_it_exists() {
    let node = Node::start().await;
    let create = wire::CreateSecretRequest {
        folder_id: node.made.folder_id.to_string(),
        name: "payroll-of-tenant-a".into(),
        description: "described-by-tenant-a".into(),
        labels: [("owner".to_owned(), "labelled-by-tenant-a".to_owned())].into(),
        version_payload_entries: vec![text("entry-of-tenant-a", "value-of-tenant-a")],
        ..Default::default()
    };
    let created = node.secrets().create(node.request(create)).await.unwrap().into_inner();
    let theirs: wire::Secret = crate::client::response(&created);
    let account = node.create_account("tenant-b").await;
    let key = node.create_key(&account.id).await;
    let token = node.token_of(&account.id, &key).await;

    let version = theirs.current_version.clone().unwrap().id;
    let told = [
        "tenant-a",
        &version,
        node.made.folder_id.as_str(),
        node.made.cloud_id.as_str(),
        node.made.admin_id.as_str(),
    ];
    let ask = async |secret_id: &str| -> [Status; 3] {
        let secret_id = || secret_id.to_owned();
        let get = wire::GetSecretRequest { secret_id: secret_id() };
        let read = wire::GetPayloadRequest { secret_id: secret_id(), ..Default::default() };
        let delete = wire::DeleteSecretRequest { secret_id: secret_id() };
        [
            node.secrets().get(bearing(&token, get)).await.unwrap_err(),
            node.payloads().get(bearing(&token, read)).await.unwrap_err(),
            node.secrets().delete(bearing(&token, delete)).await.unwrap_err(),
        ]
    };
    for status in ask(&theirs.id).await {
        assert_eq!(status.code(), Code::PermissionDenied);
        let details = String::from_utf8_lossy(status.details()).into_owned();
        let answer = format!("{status:?} {details}");
        for told in told {
            assert!(!answer.contains(told), "{told} in {answer}");
        }
    }
    for status in ask("e6qnowhere").await {
        assert_eq!(status.code(), Code::NotFound);
    }
    // How long either takes is reported, not asserted: the machine decides.
    let clock = SystemClock::new();
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..100 {
        for (of, id) in took.iter_mut().zip([theirs.id.as_str(), "e6qnowhere"]) {
            let begun = clock.monotonic();
            ask(id).await;
            of.push(clock.monotonic() - begun);
        }
    }
    let [foreign, unknown] = took.map(median);
    println!("S6: three calls on a foreign id take {foreign:?}, on an unknown one {unknown:?}");
    node.stop().await;
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The bytes that a message can hold, by the names of their fields.
fn bytes_of(
    message: &MessageDescriptor,
    seen: &mut BTreeSet<String>,
    bytes: &mut BTreeSet<String>,
) {
    if !seen.insert(message.full_name().to_owned()) {
        return;
    }
    for field in message.fields() {
        match field.kind() {
            Kind::Bytes => drop(bytes.insert(field.full_name().to_owned())),
            Kind::Message(inner) => bytes_of(&inner, seen, bytes),
            _ => {}
        }
    }
}

/// The API of the KMS has no export: what its answers hold in bytes is made under its keys, or was
/// under them. Data keys are its callers', and material has no field.
#[test]
fn security_s13_no_answer_of_the_kms_has_room_for_a_key_of_its_own() {
    let (mut seen, mut bytes) = (BTreeSet::new(), BTreeSet::new());
    for service in descriptor_pool().services().filter(|s| s.package_name().contains(".kms.")) {
        for method in service.methods() {
            bytes_of(&method.output(), &mut seen, &mut bytes);
        }
    }
    let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
    let expected = [
        // Of operations: metadata and responses, which are messages of the API again.
        "google.protobuf.Any.value",
        // Of the audit: a record's hash, and a signature with the half of a key that verifies it.
        "lockbox.kms.v1.AuditRecordMark.hash",
        "lockbox.kms.v1.TellAuditHeadResponse.signature",
        "lockbox.kms.v1.TellAuditHeadResponse.signer",
        "yandex.cloud.kms.v1.GenerateDataKeyResponse.data_key_ciphertext",
        "yandex.cloud.kms.v1.GenerateDataKeyResponse.data_key_plaintext",
        "yandex.cloud.kms.v1.SymmetricDecryptResponse.plaintext",
        "yandex.cloud.kms.v1.SymmetricEncryptResponse.ciphertext",
        "yandex.cloud.kms.v1.SymmetricReEncryptResponse.ciphertext",
    ];
    assert_eq!(bytes, expected);
}

#[test]
fn security_s07_no_type_of_the_node_for_secrets_has_equals() {
    let types = [
        // What this test would see.
        ("plain bytes", Compared::<[u8; 32]>::BY_EQUALS),
        ("RequestMac", Compared::<RequestMac>::BY_EQUALS),
        ("SensitiveBytes", Compared::<SensitiveBytes>::BY_EQUALS),
        ("SensitiveString", Compared::<SensitiveString>::BY_EQUALS),
        ("SymmetricKey", Compared::<SymmetricKey>::BY_EQUALS),
        ("SealedMessage", Compared::<SealedMessage>::BY_EQUALS),
        ("GeneratedDataKey", Compared::<GeneratedDataKey>::BY_EQUALS),
        ("OpenedDataKey", Compared::<OpenedDataKey>::BY_EQUALS),
    ];
    let with_equals = types.into_iter().filter(|(_, by_equals)| *by_equals);
    let with_equals: Vec<&str> = with_equals.map(|(name, _)| name).collect();
    assert_eq!(with_equals, ["plain bytes"]);
}

/// Welch's t of two samples, in nanoseconds: beyond 4.5 either way they differ (dudect).
fn welch_t(samples: [&[f64]; 2]) -> f64 {
    let moments = samples.map(|sample| {
        let count = sample.len() as f64;
        let mean = sample.iter().sum::<f64>() / count;
        let variance = sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    let [(mean_a, error_a), (mean_b, error_b)] = moments;
    (mean_a - mean_b) / (error_a + error_b).sqrt()
}

/// Whether a guess is the secret.
type Comparison<'a> = &'a dyn Fn(&[u8; 32]) -> bool;

/// Reports how the time of a comparison depends on where the first difference is. Two comparisons
/// are right whatever they take: the assertions are about those.
#[test]
fn security_s07_the_time_of_comparisons_is_reported() {
    const SAMPLES: usize = 100_000;
    let clock = SystemClock::new();
    let secret = [0x5a; 32];
    let differing_at = |place: usize| {
        let mut other = secret;
        other[place] ^= 1;
        other
    };
    let guesses = [differing_at(0), differing_at(31)];
    let mac = RequestMac::from(secret);
    let token = SensitiveBytes::new(secret.to_vec());
    let is_mac = |guess: &[u8; 32]| mac.is(&RequestMac::from(*guess));
    let is_token = |guess: &[u8; 32]| token.ct_eq(guess);
    let comparisons: [(&str, Comparison<'_>); 2] =
        [("authenticators", &is_mac), ("sensitive values", &is_token)];
    for (name, is) in comparisons {
        assert!(is(&secret));
        let mut samples = [Vec::with_capacity(SAMPLES), Vec::with_capacity(SAMPLES)];
        for _ in 0..SAMPLES {
            for (sample, guess) in samples.iter_mut().zip(&guesses) {
                let begun = clock.monotonic();
                let found = std::hint::black_box(is(std::hint::black_box(guess)));
                sample.push((clock.monotonic() - begun).as_nanos() as f64);
                assert!(!found);
            }
        }
        // The slowest hundredth was interrupted and says nothing of the code.
        for sample in &mut samples {
            sample.sort_by(f64::total_cmp);
            sample.truncate(SAMPLES / 100 * 99);
        }
        let t = welch_t([&samples[0], &samples[1]]);
        println!("S7: {name} that differ in the first or the last byte: t = {t:.2}");
    }
}

/// A login with a key that does not exist is refused in the words of one with a wrong signature;
/// how long either takes is reported. Ids of keys are 85 random bits: there is nothing to try out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s07_failed_logins_are_refused_in_the_same_words() {
    let node = Node::start().await;
    let account = node.made.admin_id.to_string();
    let key = node.made.admin_key_id.to_string();
    let other = node.create_account("other").await;
    let others_key = node.create_key(&other.id).await;
    let wrong = || SensitiveString::from(others_key.private_key.clone());
    let cases = [
        ("a wrong signature", account.as_str(), key.as_str()),
        ("an unknown key", account.as_str(), "ajknowhere"),
        ("an unknown account", "ajenowhere", key.as_str()),
        ("another account's key", other.id.as_str(), key.as_str()),
    ];
    let clock = SystemClock::new();
    let mut words = Vec::new();
    for (what, account, key) in cases {
        let mut times = Vec::new();
        for _ in 0..20 {
            let begun = clock.monotonic();
            let status = node.log_in(account, key, wrong()).await.unwrap_err();
            times.push(clock.monotonic() - begun);
            words.push((status.code(), status.message().to_owned()));
        }
        println!("S7: a login with {what} takes {:?}, signing included", median(times));
    }
    words.dedup();
    assert_eq!(words, [(Code::Unauthenticated, "the JWT is not valid".to_owned())]);
    node.stop().await;
}

/// Fail closed: with a disk that takes nothing more, a payload is decrypted, as its KMS saw, and
/// does not leave; neither by gRPC nor by REST. Once that is known, none is decrypted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s17_a_payload_that_cannot_be_audited_does_not_leave() {
    let disk = Switch::new();
    let node = Node::with_audit(Arc::clone(&disk) as Arc<dyn AuditFile>).await;
    let value = || vec![text("k", "a value that must not leave")];
    let secrets = [node.create(value(), "abjownkey").await, node.create(value(), "").await];
    let decrypted = |node: &Node| {
        let used = node.kms.used();
        used.iter().filter(|used| used.operation == "decrypt").count()
    };
    let router = router::public(&node.app, node.metrics.rpc.clone()).unwrap();
    for secret in &secrets {
        assert!(node.read(&secret.id, "").await.is_ok());
    }
    disk.set(Disk::IsFull);
    let before = decrypted(&node);
    for (number, secret) in (1..).zip(&secrets) {
        let status = node.read(&secret.id, "").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert_eq!(status.message(), "the audit record could not be written");
        let answer = format!("{status:?} {}", String::from_utf8_lossy(status.details()));
        assert!(!answer.contains("must not leave"), "{answer}");
        // It was the record that failed, and nothing before it.
        assert_eq!(disk.refused(), 2 * number - 1);
        let request = http::Request::get(format!("/lockbox/v1/secrets/{}/payload", secret.id))
            .header("authorization", format!("Bearer {}", node.token()))
            .body(Body::empty());
        let response = router.answer(request.unwrap()).await;
        assert_eq!(response.status(), http::StatusCode::SERVICE_UNAVAILABLE);
        let answer = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("the audit record could not be written"), "{answer}");
        assert!(!answer.contains("must not leave"), "{answer}");
        assert_eq!(disk.refused(), 2 * number);
    }
    // The first payload was open before its record failed, and no other was billed for.
    assert_eq!(decrypted(&node), before + 1);
    disk.set(Disk::Takes);
    assert!(node.read(&secrets[0].id, "").await.is_err(), "its record finds the disk well again");
    for secret in &secrets {
        assert!(node.read(&secret.id, "").await.is_ok());
    }
    node.stop().await;
}

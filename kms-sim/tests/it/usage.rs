//! The series of each key (`contract §8`), as a scraper reads them.

use std::net::SocketAddr;

use lockbox_kms_sim::SYSTEM_KEY_ID;
use lockbox_kms_sim::config::MetricsConfig;
use lockbox_proto::yandex::cloud::kms::v1::{
    GenerateDataKeyRequest, SymmetricAlgorithm, SymmetricDecryptRequest, SymmetricEncryptRequest,
    SymmetricReEncryptRequest,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::requests::{by, code, create, rotate, to_delete, to_schedule};
use crate::server_support::ServerFixture;

async fn scrape(server: &ServerFixture) -> String {
    let address = server.metrics_addr().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head =
        format!("GET /metrics/keys HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(head.contains("text/plain; version=0.0.4; charset=utf-8"), "{answer}");
    text.to_owned()
}

/// Looks for what is told of a key.
fn assert_series(text: &str, key_id: &str, active: u32, operations: u32) {
    let labels = format!(r#"{{key="{key_id}",service="kms"}}"#);
    for line in [
        format!("key_active_versions_count{labels} {active}"),
        format!("key_crypto_operations_rate_created{labels} {operations}"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}

fn to_decrypt(key_id: &str, ciphertext: &[u8]) -> SymmetricDecryptRequest {
    SymmetricDecryptRequest {
        key_id: key_id.to_owned(),
        ciphertext: ciphertext.to_vec(),
        ..SymmetricDecryptRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_tells_its_versions_and_what_succeeded_until_it_is_deleted() {
    let server = ServerFixture::start(|config| {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.metrics = Some(MetricsConfig { listen, plaintext: false });
    })
    .await;
    assert!(!scrape(&server).await.contains(SYSTEM_KEY_ID));
    let (mut keys, mut crypto) = (server.keys(None).await, server.crypto(None).await);
    let (source, target) = (create(&mut keys).await, create(&mut keys).await);
    rotate(&mut keys, &target.id).await;
    let text = scrape(&server).await;
    assert_series(&text, &source.id, 1, 0);
    assert_series(&text, &target.id, 2, 0);

    let encrypt = SymmetricEncryptRequest {
        key_id: source.id.clone(),
        plaintext: b"value".to_vec(),
        ..SymmetricEncryptRequest::default()
    };
    let sealed = crypto.encrypt(by(encrypt)).await.unwrap().into_inner().ciphertext;
    for _ in 0..2 {
        crypto.decrypt(by(to_decrypt(&source.id, &sealed))).await.unwrap();
    }
    let foreign = crypto.decrypt(by(to_decrypt(&target.id, &sealed))).await;
    assert_eq!(code(&foreign), Code::InvalidArgument);
    // One operation, of the target alone.
    let re_encrypt = SymmetricReEncryptRequest {
        key_id: target.id.clone(),
        source_key_id: source.id.clone(),
        ciphertext: sealed,
        ..SymmetricReEncryptRequest::default()
    };
    crypto.re_encrypt(by(re_encrypt)).await.unwrap();
    let generate = GenerateDataKeyRequest {
        key_id: target.id.clone(),
        data_key_spec: SymmetricAlgorithm::Aes256.into(),
        ..GenerateDataKeyRequest::default()
    };
    crypto.generate_data_key(by(generate)).await.unwrap();
    let first = target.primary_version.unwrap().id;
    keys.schedule_version_destruction(by(to_schedule(&target.id, &first, None))).await.unwrap();
    let text = scrape(&server).await;
    assert_series(&text, &source.id, 1, 3);
    assert_series(&text, &target.id, 1, 2);

    keys.delete(by(to_delete(&source.id))).await.unwrap();
    let text = scrape(&server).await;
    assert!(!text.contains(&source.id), "{text}");
    assert_series(&text, &target.id, 1, 2);
    server.stop().await;
}

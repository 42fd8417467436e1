//! The KMS: used directly, and missing while a node needs it.

use lockbox_proto::yandex::cloud::kms::v1 as wire;
use lockbox_proto::yandex::cloud::kms::v1::symmetric_crypto_service_client::SymmetricCryptoServiceClient;
use tonic::Code;

use super::Run;
use crate::client::Client;
use crate::cluster::{Cluster, Part};
use crate::messages::text;

/// Encrypts and decrypts a canary, right and wrong.
pub(super) async fn direct(run: &mut Run, client: &Client) {
    let plaintext = run.bytes("plaintext of Encrypt");
    let mut crypto = SymmetricCryptoServiceClient::new(client.channel.clone());
    let encrypt = |key_id: &str| wire::SymmetricEncryptRequest {
        key_id: key_id.to_owned(),
        plaintext: plaintext.clone(),
        ..Default::default()
    };
    let key = run.own_key.clone();
    let made = crypto.encrypt(client.request(encrypt(&key))).await.unwrap().into_inner();
    run.heard("Encrypt", &made);
    let again = wire::SymmetricReEncryptRequest {
        key_id: key.clone(),
        source_key_id: key.clone(),
        ciphertext: made.ciphertext.clone(),
        ..Default::default()
    };
    let again = crypto.re_encrypt(client.request(again)).await.unwrap().into_inner();
    run.heard("ReEncrypt", &again);
    let decrypt = |ciphertext| wire::SymmetricDecryptRequest {
        key_id: key.clone(),
        ciphertext,
        ..Default::default()
    };
    let opened = crypto.decrypt(client.request(decrypt(again.ciphertext))).await.unwrap();
    assert_eq!(opened.into_inner().plaintext, plaintext);

    let shown = wire::GenerateDataKeyRequest {
        key_id: key.clone(),
        data_key_spec: wire::SymmetricAlgorithm::Aes256.into(),
        ..Default::default()
    };
    let shown = crypto.generate_data_key(client.request(shown)).await.unwrap().into_inner();
    run.watch("data key", shown.data_key_plaintext);
    for key in ["abjnowhere", "", "no id at all"] {
        let refused = crypto.encrypt(client.request(encrypt(key))).await.unwrap_err();
        run.heard("Encrypt under a wrong key", &refused);
    }
    let garbage = run.bytes("plaintext in place of a ciphertext");
    let refused = crypto.decrypt(client.request(decrypt(garbage))).await.unwrap_err();
    run.heard("Decrypt of a plaintext", &refused);
}

/// Writes that need the KMS while it is away.
pub(super) async fn away(run: &mut Run, cluster: &mut Cluster, node: u16) {
    let client = cluster.admin(Part::Node(node));
    let secret = client.create(&run.own_key, vec![text("k", "v")]).await;
    cluster.kill(Part::Kms);
    let word = run.text("text that no KMS seals");
    let refused = client.add(&secret, vec![text("k", &word)]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    run.heard("AddVersion without a KMS", &refused);
    let create = client.new_secret(&run.own_key, vec![text("k", &word)]);
    let refused = client.secrets().create(client.request(create)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    run.heard("Create without a KMS", &refused);
    cluster.launch(Part::Kms);
    cluster.wait_ready(Part::Kms).await;
}

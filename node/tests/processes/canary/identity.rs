//! What makes a caller: private keys, JWTs and tokens.

use lockbox_platform::authorized_key::{KeyAlgorithm, generate_key_pair};
use lockbox_proto::yandex::cloud::iam::v1::CreateIamTokenRequest;
use lockbox_proto::yandex::cloud::iam::v1::create_iam_token_request::Identity;
use lockbox_proto::yandex::cloud::iam::v1::iam_token_service_client::IamTokenServiceClient;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

use super::Run;
use crate::cluster::{Cluster, Part};
use crate::messages::text;

/// The length of a piece of a private key, and where the first begins: behind the modulus, which
/// is public.
const PIECE: usize = 32;
const AFTER_MODULUS: usize = 330;
/// Which pieces: one of each of the six numbers is enough.
const EVERY: usize = 4;

impl Run {
    /// Watches for a private key in PEM: its exponent, its primes and what follows from them.
    pub(super) fn watch_private_key(&mut self, name: &str, pem: &str) {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        let secret = &key.secret_pkcs8_der()[AFTER_MODULUS..];
        assert!(secret.len() > 800, "it is no RSA key of 2048 bits");
        for piece in secret.chunks_exact(PIECE).step_by(EVERY) {
            self.watch(name, piece.to_vec());
        }
    }

    /// Watches for a token or a JWT: its signature is what makes it one.
    pub(super) fn watch_token(&mut self, name: &str, token: &str) {
        let (_, signature) = token.rsplit_once('.').unwrap();
        assert!(signature.len() >= PIECE, "it has no signature");
        self.watch(name, signature.as_bytes().to_vec());
    }
}

/// A key that the service makes, logins with it through leader and follower, and a wrong one.
pub(super) async fn logins(run: &mut Run, cluster: &Cluster, leader: u16, follower: u16) {
    let robot = cluster.admin(Part::Node(leader)).create_robot("admin").await;
    run.watch_private_key("account's private key", robot.key.private_key.expose());
    for node in [leader, follower] {
        let client = cluster.admin(Part::Node(node));
        let (jwt, token) = client.log_in(&robot.key).await;
        run.watch_token("account's JWT", &jwt);
        run.watch_token("account's token", &token);
        let word = run.text("text of an account");
        let secret = client.with_token(&token).create("", vec![text("k", &word)]).await;
        client.with_token(&token).read(&secret).await.unwrap();
        // The KMS asks the cluster about this one.
        let at_kms = cluster.admin(Part::Kms).with_token(&token);
        at_kms.create_kms_key().await;

        // The signature of another key, and a token that was cut.
        let mut wrong = robot.key.clone();
        let pair = generate_key_pair(KeyAlgorithm::Rsa2048).unwrap();
        wrong.private_key = pair.private_key_pem;
        let jwt = client.sign(&wrong);
        run.watch_token("JWT of a wrong key", &jwt);
        let request = CreateIamTokenRequest { identity: Some(Identity::Jwt(jwt)) };
        let mut tokens = IamTokenServiceClient::new(client.channel.clone());
        run.heard("login with a wrong key", &tokens.create(request).await.unwrap_err());
        let cut = token.split_at(token.len() - 2).0;
        run.heard("a cut token", &client.with_token(cut).read(&secret).await.unwrap_err());
    }
}

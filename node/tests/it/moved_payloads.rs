//! What is stored for one version, put in the place of another by whoever can write into the store
//! and has no key: it is refused as a whole (`peers.md` S10).

use lockbox::seal::SealPlace;
use lockbox_core::{SecretId, VersionId};
use lockbox_platform::status::ApiError;
use lockbox_proto::lockbox::kms::v1::CallerAssertion;
use lockbox_raft::domain::version::SealedPayload;
use lockbox_raft::state::tables;
use tokio::time::Instant;
use tonic::Code;

use crate::client::text;
use crate::fixture::{Node, WAIT};

/// A version of a secret, and what the state has of it.
struct Stored {
    secret: SecretId,
    version: VersionId,
    sealed: SealedPayload,
}

impl Node {
    async fn stored(&self, value: &str, own_key: &str) -> Stored {
        let made = self.create(vec![text("k", value)], own_key).await;
        let secret = SecretId::parse(&made.id).unwrap();
        let version = VersionId::parse(&made.current_version.unwrap().id).unwrap();
        let reading = self
            .app
            .replica
            .read(Instant::now() + WAIT, |view, _now| tables::payload(view, &secret, &version));
        let sealed = reading.await.unwrap().value.unwrap().unwrap();
        Stored { secret, version, sealed }
    }

    /// Opens this in the place of a version, as reading it does: how many entries there are.
    async fn opened(&self, at: &Stored, sealed: &SealedPayload) -> Result<usize, ApiError> {
        let place = SealPlace {
            cloud: &self.made.cloud_id,
            folder: &self.made.folder_id,
            secret: &at.secret,
            version: &at.version,
        };
        let kms_request_id = vec![1; 16];
        let caller = CallerAssertion { index: 1, kms_request_id, ..CallerAssertion::default() };
        let deadline = Instant::now() + WAIT;
        let opened = self.app.sealer.open(&place, sealed, Some(&caller), deadline).await?;
        Ok(opened.value.entries.len())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s10_what_is_stored_for_another_version_does_not_open() {
    const VALUES: [&str; 2] = ["the-first-value", "the-other-value"];
    let node = Node::start().await;
    for own_key in ["", "abjownkey"] {
        let first = node.stored(VALUES[0], own_key).await;
        let other = node.stored(VALUES[1], own_key).await.sealed;
        assert_eq!(node.opened(&first, &first.sealed).await.ok(), Some(1));
        let changed = |change: &dyn Fn(&mut SealedPayload)| {
            let mut sealed = first.sealed.clone();
            change(&mut sealed);
            sealed
        };
        let message_of_other = |sealed: &mut SealedPayload| {
            sealed.nonce = other.nonce;
            sealed.ciphertext.clone_from(&other.ciphertext);
        };
        let wrong = [
            ("all of another", other.clone()),
            ("its data key", changed(&|sealed| sealed.wrapped_key = other.wrapped_key.clone())),
            ("its message", changed(&message_of_other)),
            ("its commitment", changed(&|sealed| sealed.commitment = other.commitment)),
            (
                "its message and commitment",
                changed(&|sealed| {
                    message_of_other(sealed);
                    sealed.commitment = other.commitment;
                }),
            ),
            ("a flipped bit", changed(&|sealed| sealed.ciphertext[0] ^= 1)),
            (
                "one byte less",
                changed(&|sealed| sealed.ciphertext.truncate(sealed.ciphertext.len() - 1)),
            ),
            ("nothing", changed(&|sealed| sealed.ciphertext.clear())),
        ];
        for (what, sealed) in wrong {
            let refused = node.opened(&first, &sealed).await.err();
            let refused = refused.unwrap_or_else(|| panic!("{what} opens under {own_key:?}"));
            assert_eq!(refused.code(), Code::DataLoss, "{what}: {refused:?}");
            let said = format!("{refused:?}");
            assert!(VALUES.iter().all(|value| !said.contains(value)), "{what}: {said}");
        }
    }
    node.stop().await;
}

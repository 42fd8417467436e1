//! Fuzz: sealed bytes that were damaged, cut short, exchanged or taken from elsewhere do not open.
//!
//! `cargo test` runs each on random input; `cargo bolero test` fuzzes them (README).

use bolero::check;
use lockbox::seal::{SealPlace, SealedMessage, SymmetricKey, open, seal, unwrap, wrap};
use lockbox_core::{CloudId, FolderId, SecretId, Sensitive, VersionId};
use lockbox_platform::system::SystemRandom;

struct Ids {
    cloud: CloudId,
    folder: FolderId,
    secret: SecretId,
    versions: [VersionId; 2],
}

impl Ids {
    fn new() -> Self {
        Self {
            cloud: CloudId::parse("b1gcloud").unwrap(),
            folder: FolderId::parse("b1gfolder").unwrap(),
            secret: SecretId::parse("e6qsecret").unwrap(),
            versions: ["e6qfirst", "e6qsecond"].map(|id| VersionId::parse(id).unwrap()),
        }
    }

    fn place(&self, version: usize) -> SealPlace<'_> {
        let (cloud, folder, secret) = (&self.cloud, &self.folder, &self.secret);
        SealPlace { cloud, folder, secret, version: &self.versions[version] }
    }
}

fn flip(bytes: &mut [u8], place: u16, bit: u8) {
    let place = usize::from(place) % bytes.len();
    bytes[place] ^= 1 << (bit % 8);
}

/// Cuts at least one byte off.
fn cut(bytes: &mut Vec<u8>, place: u16) {
    bytes.truncate(usize::from(place) % bytes.len());
}

#[test]
fn a_damaged_payload_does_not_open() {
    let ids = Ids::new();
    let keys = [SymmetricKey::generate(&SystemRandom), SymmetricKey::generate(&SystemRandom)];
    check!().with_type::<(Vec<u8>, Vec<u8>, u16, u8)>().for_each(|(plain, other, place, bit)| {
        let sealed = |key: usize, version: usize, plain: &[u8]| {
            let plain = Sensitive::new(plain.to_vec());
            seal(&keys[key], &ids.place(version), &plain, &SystemRandom)
        };
        let good = sealed(0, 0, plain);
        let opens = |message: &SealedMessage| open(&keys[0], &ids.place(0), message).is_ok();
        assert_eq!(open(&keys[0], &ids.place(0), &good).unwrap().expose(), plain);
        let damaged = |damage: &dyn Fn(&mut SealedMessage)| {
            let mut message = good.clone();
            damage(&mut message);
            message
        };
        assert!(!opens(&damaged(&|message| flip(&mut message.ciphertext, *place, *bit))));
        assert!(!opens(&damaged(&|message| flip(&mut message.nonce, *place, *bit))));
        assert!(!opens(&damaged(&|message| flip(&mut message.commitment, *place, *bit))));
        assert!(!opens(&damaged(&|message| cut(&mut message.ciphertext, *place))));
        assert!(!opens(&damaged(&|message| message.ciphertext.push(*bit))));
        // Parts of another message of the same key and place, and whole ones from elsewhere.
        let twin = sealed(0, 0, other);
        assert!(!opens(&damaged(&|message| message.nonce = twin.nonce)));
        assert!(!opens(&damaged(&|message| message.ciphertext.clone_from(&twin.ciphertext))));
        for foreign in [sealed(0, 1, plain), sealed(1, 0, plain)] {
            assert!(!opens(&foreign));
        }
        let mut relabelled = sealed(1, 0, plain);
        relabelled.commitment = good.commitment;
        assert!(!opens(&relabelled), "a ciphertext of another key under this key's commitment");
    });
}

#[test]
fn a_damaged_wrap_does_not_open() {
    let ids = Ids::new();
    let keys = [SymmetricKey::generate(&SystemRandom), SymmetricKey::generate(&SystemRandom)];
    check!().with_type::<(u16, u8)>().for_each(|(place, bit)| {
        let data_key = SymmetricKey::generate(&SystemRandom);
        let data = ids.place(0).wrap_data("keyring/1");
        let (salt, wrapped) = wrap(&keys[0], &data_key, &data, &SystemRandom);
        let opens = |key: usize, salt: &[u8; 32], wrapped: &[u8], data: &[u8]| {
            unwrap(&keys[key], salt, wrapped, data).is_ok()
        };
        assert!(opens(0, &salt, &wrapped, &data));
        let (mut other_salt, mut damaged, mut short) = (salt, wrapped.clone(), wrapped.clone());
        flip(&mut other_salt, *place, *bit);
        flip(&mut damaged, *place, *bit);
        cut(&mut short, *place);
        assert!(!opens(0, &other_salt, &wrapped, &data));
        assert!(!opens(0, &salt, &damaged, &data));
        assert!(!opens(0, &salt, &short, &data));
        assert!(!opens(1, &salt, &wrapped, &data), "another keyring key");
        assert!(!opens(0, &salt, &wrapped, &ids.place(1).wrap_data("keyring/1")));
        assert!(!opens(0, &salt, &wrapped, &ids.place(0).wrap_data("keyring/2")));
        let (twin_salt, twin) = wrap(&keys[0], &data_key, &data, &SystemRandom);
        assert!(!opens(0, &salt, &twin, &data) && !opens(0, &twin_salt, &wrapped, &data));
    });
}

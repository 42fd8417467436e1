//! What sealing and opening one version costs under the common key: `cargo bench -p lockbox-node`.
//!
//! `cipher` is AES-256-GCM over the same bytes with a key that is ready: the least that any sealing
//! can cost. `message` is ours: the keys derived for this message alone, and the commitment.
//! `version` is all that a write or a read pays: the data key and its wrap, the encoding, and the
//! wiping of what held plaintext.

use std::hint::black_box;

use aes_gcm::aead::{Aead, KeyInit, Payload as AeadPayload};
use aes_gcm::{Aes256Gcm, Nonce};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lockbox::payload::{EntryValue, Payload, PayloadEntry};
use lockbox::seal::{SealPlace, SealedMessage, SymmetricKey, open, seal, unwrap, wrap};
use lockbox_core::{CloudId, FolderId, SecretId, Sensitive, VersionId};
use lockbox_platform::system::SystemRandom;

/// Lengths of the one value of a payload, in bytes: small, usual, and the most that fits.
const VALUE_BYTES: [usize; 3] = [256, 4 * 1024, 64 * 1024];
/// Name of the wrapping key in associated data.
const KEYRING_KEY: &str = "keyring/1";

struct Ids {
    cloud: CloudId,
    folder: FolderId,
    secret: SecretId,
    version: VersionId,
}

impl Ids {
    fn new() -> Self {
        // As long as real ids, for they are authenticated with every message.
        let id = "e6q0123456789abcdefg";
        let well_formed = "the id is a constant of the right form";
        Self {
            cloud: CloudId::parse(id).expect(well_formed),
            folder: FolderId::parse(id).expect(well_formed),
            secret: SecretId::parse(id).expect(well_formed),
            version: VersionId::parse(id).expect(well_formed),
        }
    }

    const fn place(&self) -> SealPlace<'_> {
        SealPlace {
            cloud: &self.cloud,
            folder: &self.folder,
            secret: &self.secret,
            version: &self.version,
        }
    }
}

fn payload(value_bytes: usize) -> Payload {
    let value = EntryValue::Binary(Sensitive::new(vec![0xA5; value_bytes]));
    Payload { entries: vec![PayloadEntry { key: "value".to_owned(), value }] }
}

fn cipher(criterion: &mut Criterion) {
    let associated_data = Ids::new().place().associated_data();
    let cipher = Aes256Gcm::new(SymmetricKey::generate(&SystemRandom).expose().into());
    let nonce = Nonce::from([7; 12]);
    let mut group = criterion.benchmark_group("cipher");
    for value_bytes in VALUE_BYTES {
        group.throughput(Throughput::Bytes(value_bytes as u64));
        let plain = payload(value_bytes).encode();
        let seal = |plain: &[u8]| {
            let message = AeadPayload { msg: plain, aad: &associated_data };
            cipher.encrypt(&nonce, message).expect("it fits")
        };
        let open = |sealed: &[u8]| {
            let message = AeadPayload { msg: sealed, aad: &associated_data };
            cipher.decrypt(&nonce, message).expect("it opens")
        };
        group.bench_function(BenchmarkId::new("seal", value_bytes), |bencher| {
            bencher.iter(|| seal(black_box(plain.expose())));
        });
        let sealed = seal(plain.expose());
        group.bench_function(BenchmarkId::new("open", value_bytes), |bencher| {
            bencher.iter(|| open(black_box(&sealed)));
        });
    }
    group.finish();
}

fn message(criterion: &mut Criterion) {
    let ids = Ids::new();
    let key = SymmetricKey::generate(&SystemRandom);
    let mut group = criterion.benchmark_group("message");
    for value_bytes in VALUE_BYTES {
        group.throughput(Throughput::Bytes(value_bytes as u64));
        let plain = payload(value_bytes).encode();
        group.bench_function(BenchmarkId::new("seal", value_bytes), |bencher| {
            bencher.iter(|| seal(&key, &ids.place(), black_box(&plain), &SystemRandom));
        });
        let sealed = seal(&key, &ids.place(), &plain, &SystemRandom);
        group.bench_function(BenchmarkId::new("open", value_bytes), |bencher| {
            bencher.iter(|| open(&key, &ids.place(), black_box(&sealed)).expect("it opens"));
        });
    }
    group.finish();
}

/// A sealed version: the message, and the wrap of its data key.
struct Version {
    message: SealedMessage,
    salt: [u8; 32],
    wrapped: Vec<u8>,
}

fn seal_version(keyring_key: &SymmetricKey, ids: &Ids, payload: &Payload) -> Version {
    let place = ids.place();
    let data_key = SymmetricKey::generate(&SystemRandom);
    let data = place.wrap_data(KEYRING_KEY);
    let (salt, wrapped) = wrap(keyring_key, &data_key, &data, &SystemRandom);
    let message = seal(&data_key, &place, &payload.encode(), &SystemRandom);
    Version { message, salt, wrapped }
}

fn open_version(keyring_key: &SymmetricKey, ids: &Ids, version: &Version) -> Payload {
    let place = ids.place();
    let data = place.wrap_data(KEYRING_KEY);
    let data_key = unwrap(keyring_key, &version.salt, &version.wrapped, &data);
    let plain = open(&data_key.expect("it unwraps"), &place, &version.message);
    Payload::decode(&plain.expect("it opens")).expect("it decodes")
}

fn version(criterion: &mut Criterion) {
    let ids = Ids::new();
    let keyring_key = SymmetricKey::generate(&SystemRandom);
    let mut group = criterion.benchmark_group("version");
    for value_bytes in VALUE_BYTES {
        group.throughput(Throughput::Bytes(value_bytes as u64));
        let payload = payload(value_bytes);
        group.bench_function(BenchmarkId::new("seal", value_bytes), |bencher| {
            bencher.iter(|| seal_version(&keyring_key, &ids, black_box(&payload)));
        });
        let sealed = seal_version(&keyring_key, &ids, &payload);
        group.bench_function(BenchmarkId::new("open", value_bytes), |bencher| {
            bencher.iter(|| open_version(&keyring_key, &ids, black_box(&sealed)));
        });
    }
    group.finish();
}

criterion_group!(benches, cipher, message, version);
criterion_main!(benches);

//! Fuzz targets: the small languages of the API, and what a sealed payload opens to.
//!
//! `cargo test` runs each on random input; `cargo bolero test` fuzzes them (README). Those named
//! `fuzz_` begin with a corpus ([`crate::fuzz`]): what opens is what was sealed here.

use bolero::check;
use lockbox::backup::content::{ContentReader, KIND};
use lockbox::backup::destroyed_list::VerifiedList;
use lockbox::consistency::{Consistency, min_index};
use lockbox::name_filter;
use lockbox::page::List;
use lockbox::payload::{EntryValue, Payload, PayloadEntry};
use lockbox::seal::{
    SEAL_FORMAT, SealPlace, SealedMessage, SymmetricKey, open, seal, unwrap, wrap,
};
use lockbox_core::{CloudId, FolderId, Randomness, SecretId, SensitiveBytes, VersionId};
use lockbox_platform::sealed_file::{self, FileKey, SealedBy, SealedFile, SealingWriter, Wrap};
use lockbox_raft::domain::codec;
use lockbox_raft::domain::version::{SealedPayload, WrappedDataKey};

use crate::fuzz::fuzz;

#[test]
fn a_page_token_is_read_or_refused() {
    let list = List { kind: "secrets", of: "b1gfolder" };
    let good = list.token(7);
    check!().with_type::<(Vec<(u16, u8)>, Vec<u8>)>().for_each(|(changes, tail)| {
        let mut bytes = good.clone().into_bytes();
        for (place, byte) in changes {
            let place = usize::from(*place) % bytes.len();
            bytes[place] = *byte;
        }
        bytes.extend(tail);
        let token = String::from_utf8_lossy(&bytes);
        list.place(&token).ok();
        list.id_place(&token).ok();
    });
}

#[test]
fn a_filter_and_a_header_are_read_or_refused() {
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        name_filter::parse(&text).ok();
        name_filter::parse(&format!("name=\"{text}\"")).ok();
        Consistency::parse(Some(&text)).ok();
        min_index(Some(&text)).ok();
    });
}

#[test]
fn an_opened_payload_is_read_or_refused() {
    check!().for_each(|bytes: &[u8]| {
        for bytes in [bytes.to_vec(), [&[1], bytes].concat()] {
            let Ok(payload) = Payload::decode(&SensitiveBytes::new(bytes)) else { continue };
            let again = Payload::decode(&payload.encode()).unwrap();
            assert_eq!(again.keys(), payload.keys());
        }
    });
}

#[test]
fn a_sealed_file_and_a_list_of_destructions_are_read_or_refused() {
    check!().for_each(|bytes: &[u8]| {
        VerifiedList::read(bytes).ok();
        for file in [bytes.to_vec(), [b"LOCKBOX-SEALED-FILE\n", bytes].concat()] {
            sealed_file::check(file.as_slice()).ok();
        }
    });
}

#[test]
fn the_content_of_a_backup_is_read_or_refused() {
    let key = FileKey::from_slice(&[7; 32]).unwrap();
    let wrap = Wrap::Kms { key_id: "abjsystem".to_owned(), wrapped: String::new() };
    check!().for_each(|bytes: &[u8]| {
        let sealed_by = SealedBy { file_id: [1; 16], key: key.clone(), wraps: vec![wrap.clone()] };
        let file = SealingWriter::begin(Vec::new(), KIND, Default::default(), sealed_by);
        let mut file = file.unwrap();
        file.write(bytes).unwrap();
        let (file, _) = file.finish().unwrap();
        let opened = SealedFile::begin(file.as_slice()).unwrap().open(&key).unwrap();
        let mut content = ContentReader::new(opened);
        while let Ok(Some(_)) = content.next_item() {}
    });
}

/// The same bytes every time, so that the corpus fits the keys.
struct Fixed(u8);

impl Randomness for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

fn payloads() -> [Payload; 3] {
    let entry = |key: &str, value| PayloadEntry { key: key.to_owned(), value };
    let text = |text: &str| EntryValue::Text(text.to_owned().into());
    let binary = || EntryValue::Binary(vec![0, 0xff, 0x7f].into());
    [
        Payload { entries: Vec::new() },
        Payload { entries: vec![entry("k", text("v"))] },
        Payload {
            entries: vec![entry("a", binary()), entry("b", text("")), entry("c", text("é"))],
        },
    ]
}

#[test]
fn fuzz_an_encoded_payload_is_read_or_refused() {
    let encoded = payloads().map(|payload| payload.encode().expose().clone());
    fuzz("payload", &encoded, |bytes| {
        let payload = Payload::decode(&SensitiveBytes::new(bytes.to_vec()))?;
        let again = Payload::decode(&payload.encode())?;
        assert_eq!(again.keys(), payload.keys());
        let values = |payload: &Payload| -> Vec<Vec<u8>> {
            payload.entries.iter().map(|entry| entry.value.as_bytes().to_vec()).collect()
        };
        assert_eq!(values(&again), values(&payload));
        Ok::<_, lockbox::payload::PayloadFormatError>(())
    });
}

/// As the state holds it, and as a disk or another node may hand it back.
#[test]
fn fuzz_a_sealed_payload_opens_only_if_it_was_sealed_here() {
    const KEYRING_KEY: u32 = 3;
    let keyring = SymmetricKey::generate(&Fixed(1));
    let (cloud, folder) = (CloudId::parse("b1gc").unwrap(), FolderId::parse("b1gf").unwrap());
    let (secret, version) = (SecretId::parse("e6qs").unwrap(), VersionId::parse("e6qv").unwrap());
    let place = SealPlace { cloud: &cloud, folder: &folder, secret: &secret, version: &version };
    let wrap_data = |key: u32| place.wrap_data(&format!("keyring/{key}"));
    let sealed: Vec<SealedPayload> = payloads()
        .iter()
        .zip(10..)
        .map(|(payload, number)| {
            let data_key = SymmetricKey::generate(&Fixed(number));
            let message = seal(&data_key, &place, &payload.encode(), &Fixed(2));
            let (salt, ciphertext) =
                wrap(&keyring, &data_key, &wrap_data(KEYRING_KEY), &Fixed(number));
            let SealedMessage { commitment, nonce, ciphertext: message } = message;
            SealedPayload {
                format: SEAL_FORMAT,
                commitment,
                nonce,
                ciphertext: message,
                wrapped_key: WrappedDataKey::Keyring {
                    keyring_key_id: KEYRING_KEY,
                    salt,
                    ciphertext,
                },
            }
        })
        .collect();
    let stored: Vec<Vec<u8>> = sealed.iter().map(codec::encode).collect();
    fuzz("sealed-payload", &stored, |bytes| {
        let read: SealedPayload = codec::decode(bytes).map_err(|_| "no record")?;
        assert!(codec::decode::<SealedPayload>(&codec::encode(&read)).is_ok_and(|r| r == read));
        if read.format != SEAL_FORMAT {
            return Err("another format");
        }
        let WrappedDataKey::Keyring { keyring_key_id, salt, ciphertext } = &read.wrapped_key else {
            return Err("a key of the KMS");
        };
        let data_key = unwrap(&keyring, salt, ciphertext, &wrap_data(*keyring_key_id))
            .map_err(|_| "the data key does not open")?;
        let SealedPayload { commitment, nonce, ciphertext, .. } = read.clone();
        let message = SealedMessage { commitment, nonce, ciphertext };
        let plain = open(&data_key, &place, &message).map_err(|_| "the payload does not open")?;
        assert!(sealed.contains(&read), "a payload that nobody has sealed");
        Payload::decode(&plain).map(drop).map_err(|_| "the payload does not decode")
    });
}

use std::collections::BTreeMap;

use super::*;
use crate::system::SystemRandom;

const ABOUT: [(&str, &str); 1] = [("cluster", "lbc1")];

fn about() -> BTreeMap<String, String> {
    ABOUT.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn sealed(recipients: &[&Recipient], content: &[u8]) -> Vec<u8> {
    let key = FileKey::generate(&SystemRandom);
    let wraps = recipients.iter().map(|recipient| recipient.wrap(&key).unwrap()).collect();
    let sealed_by = SealedBy { file_id: [7; 16], key, wraps };
    let mut writer = SealingWriter::begin(Vec::new(), "a test", about(), sealed_by).unwrap();
    for piece in content.chunks(300_001) {
        writer.write(piece).unwrap();
    }
    let (file, bytes) = writer.finish().unwrap();
    assert_eq!(file.len() as u64, bytes);
    file
}

fn opened(file: &[u8], key: &RecipientKey) -> Result<Vec<u8>, SealedFileError> {
    let file = SealedFile::begin(file)?;
    let Some(key) = file.key_for(key) else {
        return Err(SealedFileError::NoKey(file.heading().holders()));
    };
    let mut opened = file.open(&key)?;
    let mut content = Vec::new();
    while let Some(chunk) = opened.next_chunk()? {
        content.extend(chunk);
    }
    Ok(content)
}

/// Of several chunks, the last one short, and of one that is full.
#[test]
fn each_recipient_opens_what_was_sealed_and_nobody_else() {
    let (first, to_first) = RecipientKey::generate().unwrap();
    let (second, to_second) = RecipientKey::generate().unwrap();
    let (stranger, _) = RecipientKey::generate().unwrap();
    for length in [0, 5, CHUNK_BYTES, 2 * CHUNK_BYTES + 11] {
        let content: Vec<u8> = (0..length).map(|n| n as u8).collect();
        let file = sealed(&[&to_first, &to_second], &content);
        assert_eq!(opened(&file, &first).unwrap(), content);
        assert_eq!(opened(&file, &second).unwrap(), content);
        let refused = opened(&file, &stranger).unwrap_err().to_string();
        assert!(refused.contains(&to_first.to_string()), "{refused}");
        let heading = check(file.as_slice()).unwrap();
        assert_eq!((heading.kind.as_str(), heading.about), ("a test", about()));
    }
}

#[test]
fn whatever_is_changed_is_found_with_the_key_and_damage_without_it() {
    let (key, recipient) = RecipientKey::generate().unwrap();
    let file = sealed(&[&recipient], &[5; 300]);
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        assert!(opened(&damaged, &key).is_err(), "byte {at}");
        assert!(check(damaged.as_slice()).is_err(), "byte {at}");
    }
    for length in 0..file.len() {
        assert!(opened(&file[..length], &key).is_err(), "{length} bytes");
        assert!(check(&file[..length]).is_err(), "{length} bytes");
    }
    let longer = [file.as_slice(), &[0]].concat();
    assert!(opened(&longer, &key).is_err() && check(longer.as_slice()).is_err());
}

/// Who can make the checksum anew is stopped by the chunks.
#[test]
fn security_s24_an_alteration_with_a_right_checksum_is_found() {
    use sha2::Digest;
    let (key, recipient) = RecipientKey::generate().unwrap();
    let file = sealed(&[&recipient], &[5; CHUNK_BYTES + 20]);
    let end = file.len() - 32;
    let with_checksum = |body: &[u8]| [body, Sha256::digest(body).as_slice()].concat();
    let mut altered = file[..end].to_vec();
    altered[end - 20] ^= 1;
    let mut heading = file[..end].to_vec();
    let cluster = heading.windows(4).position(|window| window == b"lbc1").unwrap();
    heading[cluster + 3] = b'2';
    // Without its last chunk, whose length is that of 20 bytes and a tag.
    let shorter = &file[..end - 4 - 20 - TAG_BYTES];
    for body in [altered.as_slice(), heading.as_slice()] {
        let forged = with_checksum(body);
        check(forged.as_slice()).unwrap();
        assert!(matches!(opened(&forged, &key), Err(SealedFileError::Altered)));
    }
    let mut marked = shorter.to_vec();
    let last_length = marked.len() - CHUNK_BYTES - TAG_BYTES - 4;
    marked[last_length] |= 0x80;
    let forged = with_checksum(&marked);
    check(forged.as_slice()).unwrap();
    assert!(matches!(opened(&forged, &key), Err(SealedFileError::Altered)));
}

#[test]
fn other_files_and_newer_ones_are_told_apart() {
    let (key, recipient) = RecipientKey::generate().unwrap();
    let refused = |file: &[u8]| opened(file, &key).unwrap_err().to_string();
    assert_eq!(refused(b""), "it is no sealed file of Lockbox");
    assert_eq!(refused(b"PK and some more bytes than that"), "it is no sealed file of Lockbox");
    let mut newer = sealed(&[&recipient], b"content");
    let at = newer.windows(10).position(|window| window == b"\"format\":1").unwrap();
    newer[at + 9] = b'2';
    assert!(refused(&newer).contains("it has format 2"), "{}", refused(&newer));
}

#[test]
fn keys_are_text_that_comes_back_and_is_not_shown() {
    let (key, recipient) = RecipientKey::generate().unwrap();
    assert_eq!(Recipient::parse(&format!(" {recipient}\n")).unwrap(), recipient);
    let file = key.to_file(&recipient);
    let read = RecipientKey::parse(file.expose()).unwrap();
    assert_eq!(opened(&sealed(&[&recipient], b"content"), &read).unwrap(), b"content");
    assert_eq!(format!("{key:?} {:?}", FileKey::generate(&SystemRandom)), "[redacted] [redacted]");
    let swapped = file.expose().lines().last().unwrap();
    for wrong in ["", "lockbox-recipient-1-", "lockbox-recipient-1-00", swapped] {
        let error = Recipient::parse(wrong).unwrap_err();
        assert_eq!(error.to_string(), "a recipient is not readable");
    }
    assert!(RecipientKey::parse(&recipient.to_string()).is_err());
    assert!(RecipientKey::parse("# only a note\n").is_err());
}

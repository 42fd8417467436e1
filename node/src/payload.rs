//! Plaintext entries, for the length of a request.
//!
//! INVARIANT: values live only in `Sensitive` buffers, which are wiped when dropped and print as
//! `[redacted]`. What leaves this module for the log or the disk has passed [`crate::seal`].

use lockbox_core::{Sensitive, SensitiveBytes, SensitiveString};
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

/// The value of one entry.
#[derive(Debug, Clone)]
pub enum EntryValue {
    /// UTF-8 text.
    Text(SensitiveString),
    /// Any bytes.
    Binary(SensitiveBytes),
}

impl EntryValue {
    /// The value's bytes; text as UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.expose().as_bytes(),
            Self::Binary(bytes) => bytes.expose(),
        }
    }
}

/// One entry: a public key and a confidential value.
#[derive(Debug, Clone)]
pub struct PayloadEntry {
    /// The public key.
    pub key: String,
    /// The confidential value.
    pub value: EntryValue,
}

/// The entries of one version in stored order.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    /// The entries.
    pub entries: Vec<PayloadEntry>,
}

/// The sealed message was written by another format, or the data key opened a wrong one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("payload does not decode")]
pub struct PayloadFormatError;

/// CBOR head of an item with a 32-bit length, the largest that a payload needs.
const HEAD_BYTES: usize = 5;

impl Payload {
    /// The public keys in order.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.entries.iter().map(|entry| entry.key.clone()).collect()
    }

    /// The sum of all values' lengths, in bytes.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.value.as_bytes().len()).sum()
    }

    /// Encodes the entries for sealing: a CBOR array of `[key, text or bytes]`.
    #[must_use]
    pub fn encode(&self) -> SensitiveBytes {
        // The buffer has its final capacity from the start: a reallocation would leave a copy of
        // the values behind that nobody wipes.
        let keys: usize = self.entries.iter().map(|entry| entry.key.len()).sum();
        let heads = HEAD_BYTES * (1 + 3 * self.entries.len());
        let mut buffer = Vec::with_capacity(self.value_bytes() + keys + heads);
        let capacity = buffer.capacity();
        let written = encode_entries(&self.entries, &mut Encoder::new(&mut buffer));
        // INVARIANT: minicbor's writes into a Vec cannot fail.
        assert!(written.is_ok(), "a Vec accepts every write");
        assert_eq!(buffer.capacity(), capacity, "payload buffer was reallocated");
        Sensitive::new(buffer)
    }

    /// Decodes what [`Payload::encode`] wrote.
    ///
    /// # Errors
    /// [`PayloadFormatError`] without any detail of the content.
    pub fn decode(bytes: &SensitiveBytes) -> Result<Self, PayloadFormatError> {
        let mut decoder = Decoder::new(bytes.expose());
        let entries = decode_entries(&mut decoder).map_err(|_| PayloadFormatError)?;
        if decoder.position() != bytes.expose().len() {
            return Err(PayloadFormatError);
        }
        Ok(Self { entries })
    }
}

type EncodeResult = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn encode_entries(entries: &[PayloadEntry], encoder: &mut Encoder<&mut Vec<u8>>) -> EncodeResult {
    encoder.array(entries.len() as u64)?;
    for entry in entries {
        encoder.array(2)?.str(&entry.key)?;
        match &entry.value {
            EntryValue::Text(text) => encoder.str(text.expose())?,
            EntryValue::Binary(bytes) => encoder.bytes(bytes.expose())?,
        };
    }
    Ok(())
}

fn decode_entries(decoder: &mut Decoder<'_>) -> Result<Vec<PayloadEntry>, minicbor::decode::Error> {
    let malformed = || minicbor::decode::Error::message("payload does not decode");
    let count = decoder.array()?.ok_or_else(malformed)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        if decoder.array()? != Some(2) {
            return Err(malformed());
        }
        let key = decoder.str()?.to_owned();
        let value = match decoder.datatype()? {
            Type::String => EntryValue::Text(Sensitive::new(decoder.str()?.to_owned())),
            Type::Bytes => EntryValue::Binary(Sensitive::new(decoder.bytes()?.to_vec())),
            _ => return Err(malformed()),
        };
        entries.push(PayloadEntry { key, value });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(key: &str, value: &str) -> PayloadEntry {
        let value = EntryValue::Text(Sensitive::new(value.to_owned()));
        PayloadEntry { key: key.to_owned(), value }
    }

    #[test]
    fn entries_survive_in_order_and_kind() {
        let binary = EntryValue::Binary(Sensitive::new(vec![0, 0xff]));
        let entries = vec![
            text("b", "two"),
            PayloadEntry { key: "a".into(), value: binary },
            text("long", &"x".repeat(65_000)),
        ];
        let decoded = Payload::decode(&Payload { entries }.encode()).unwrap();
        assert_eq!(decoded.keys(), ["b", "a", "long"]);
        assert!(matches!(&decoded.entries[0].value, EntryValue::Text(t) if t.expose() == "two"));
        assert!(
            matches!(&decoded.entries[1].value, EntryValue::Binary(b) if *b.expose() == [0, 0xff])
        );
        assert_eq!(decoded.value_bytes(), 3 + 2 + 65_000);
    }

    #[test]
    fn damaged_and_trailing_bytes_are_refused() {
        let encoded = Payload { entries: vec![text("a", "b")] }.encode();
        let cut = Sensitive::new(encoded.expose()[..encoded.expose().len() - 1].to_vec());
        assert_eq!(Payload::decode(&cut).err(), Some(PayloadFormatError));
        let mut longer = encoded.expose().clone();
        longer.push(0);
        assert_eq!(Payload::decode(&Sensitive::new(longer)).err(), Some(PayloadFormatError));
    }
}

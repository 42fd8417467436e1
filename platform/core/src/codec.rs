//! The one encoding of everything that is stored or proposed, by nodes and by the KMS: a format
//! byte, then CBOR.
//!
//! Fields are numbered, so a reader skips what it does not know and treats what is missing as
//! absent. The format byte changes only when an old reader must refuse.

use minicbor::{Decode, Encode};

/// The format that this build writes, and the only one that it reads.
pub const FORMAT_VERSION: u8 = 1;

/// Room for most records, so that encoding one seldom moves it.
const USUAL_BYTES: usize = 256;

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// There is not even a format byte.
    #[error("record is empty")]
    Empty,
    /// The record was written by another format.
    #[error("record has format {found}, this build reads {FORMAT_VERSION}")]
    Format {
        /// The format byte that was found.
        found: u8,
    },
    /// The bytes behind the format byte do not decode. Says where, never what.
    #[error("record does not decode as {type_name}")]
    Malformed {
        /// The Rust type that was expected.
        type_name: &'static str,
    },
}

/// Encodes a record behind its format byte.
#[must_use]
pub fn encode<T: Encode<()>>(record: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    bytes.push(FORMAT_VERSION);
    let written = minicbor::encode(record, &mut bytes);
    // INVARIANT: writing into a Vec cannot fail; minicbor's error type is `Infallible` there.
    let Ok(()) = written.map_err(|_| ()) else { unreachable!("a Vec accepts every write") };
    bytes
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// [`CodecError`] when the bytes are no such record. The caller treats that as corruption.
pub fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, CodecError> {
    let (format, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    if *format != FORMAT_VERSION {
        return Err(CodecError::Format { found: *format });
    }
    minicbor::decode(body)
        .map_err(|_| CodecError::Malformed { type_name: std::any::type_name::<T>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Encode, Decode, PartialEq, Debug)]
    struct Old {
        #[n(0)]
        name: String,
    }

    #[derive(Encode, Decode, PartialEq, Debug)]
    struct New {
        #[n(0)]
        name: String,
        #[n(1)]
        added: Option<u32>,
    }

    #[test]
    fn old_and_new_readers_understand_each_other() {
        let old = encode(&Old { name: "a".into() });
        assert_eq!(decode(&old), Ok(New { name: "a".into(), added: None }));
        let new = encode(&New { name: "b".into(), added: Some(7) });
        assert_eq!(decode(&new), Ok(Old { name: "b".into() }));
    }

    #[test]
    fn damage_is_named_and_not_shown() {
        assert_eq!(decode::<Old>(&[]), Err(CodecError::Empty));
        assert_eq!(decode::<Old>(&[9, 1]), Err(CodecError::Format { found: 9 }));
        let damaged = decode::<Old>(&[FORMAT_VERSION, 0xff]);
        assert!(matches!(damaged, Err(CodecError::Malformed { .. })));
    }
}

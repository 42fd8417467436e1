//! `--payload`: the entries of a version as YAML or JSON text, from an argument, a file or
//! standard input.
//!
//! Promises: no error quotes the text, for it holds values; it says where and what is wrong. An
//! item without a value removes its entry, so a value that is there but empty of meaning (`null`)
//! is refused rather than taken for that.

use std::fs::File;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lockbox_core::{SensitiveBytes, SensitiveString};
use lockbox_proto::yandex::cloud::lockbox::v1::PayloadEntryChange;
use lockbox_proto::yandex::cloud::lockbox::v1::payload_entry_change::Value;
use serde::{Deserialize, Deserializer};

/// Longest text that is read, in bytes: many times what any limit of a server lets through.
const TEXT_BYTES_MAX: u64 = 32 << 20;

/// Why a payload cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PayloadError {
    /// It cannot be read.
    #[error("cannot read the payload from {from}: {source}")]
    Read {
        /// Where it should have come from.
        from: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It is longer than [`TEXT_BYTES_MAX`].
    #[error("the payload is longer than {TEXT_BYTES_MAX} bytes")]
    TooLong,
    /// It is not UTF-8.
    #[error("the payload is not UTF-8 text")]
    NotText,
    /// It is not YAML, or not an array of items.
    #[error(
        "the payload is not a YAML or JSON array of items with key and text_value or \
         binary_value (line {line}, column {column})"
    )]
    Form {
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
    },
    /// A value reads as a number, a boolean or nothing.
    #[error("the payload has a value that is not text: put it in quotes (line {line})")]
    Quotes {
        /// Line, from 1.
        line: u64,
    },
    /// An item has both kinds of value.
    #[error("item {number} of the payload has a text_value and a binary_value")]
    TwoValues {
        /// Its number, from 1.
        number: usize,
    },
    /// A binary value is not base64.
    #[error("the binary_value of item {number} of the payload is not base64")]
    NotBase64 {
        /// Its number, from 1.
        number: usize,
    },
}

/// Takes the text that `--payload` names: `-` is standard input, `@FILE` a file, else the text.
pub(crate) fn read(
    argument: SensitiveString,
    stdin: impl Read,
) -> Result<SensitiveString, PayloadError> {
    let text = argument.expose().as_str();
    if text == "-" {
        return read_text(stdin, "standard input");
    }
    // No YAML begins with an at sign, so nothing is lost.
    match text.strip_prefix('@') {
        Some(path) => {
            let opened = File::open(path);
            let file =
                opened.map_err(|source| PayloadError::Read { from: path.to_owned(), source })?;
            read_text(file, path)
        }
        None => Ok(argument),
    }
}

fn read_text(source: impl Read, from: &str) -> Result<SensitiveString, PayloadError> {
    let mut bytes = SensitiveBytes::new(Vec::new());
    let read = source.take(TEXT_BYTES_MAX + 1).read_to_end(bytes.expose_mut());
    let read = read.map_err(|source| PayloadError::Read { from: from.to_owned(), source })?;
    if u64::try_from(read).is_ok_and(|read| read > TEXT_BYTES_MAX) {
        return Err(PayloadError::TooLong);
    }
    let text = std::str::from_utf8(bytes.expose()).map_err(|_invalid| PayloadError::NotText)?;
    Ok(SensitiveString::new(text.to_owned()))
}

/// One item, in either spelling.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    key: String,
    #[serde(default, alias = "textValue", deserialize_with = "present")]
    text_value: Option<SensitiveString>,
    #[serde(default, alias = "binaryValue", deserialize_with = "present")]
    binary_value: Option<SensitiveString>,
}

/// A field that is there holds text; `null` is not taken for an absent field.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<SensitiveString>, D::Error> {
    String::deserialize(value).map(|text| Some(SensitiveString::new(text)))
}

/// Reads the items.
pub(crate) fn parse(text: &SensitiveString) -> Result<Vec<PayloadEntryChange>, PayloadError> {
    let options = serde_saphyr::options! {
        // Text is what is quoted or cannot be anything else, as it is for other readers of YAML.
        no_schema: true,
        // The value is base64 anyway; decoded here, it would be decoded twice.
        ignore_binary_tag_for_string: true,
        // The snippets of errors quote the text.
        with_snippet: false,
    };
    let parsed = serde_saphyr::from_str_with_options(text.expose(), options);
    let items: Option<Vec<Item>> = parsed.map_err(|error| malformed(&error))?;
    // Nothing at all is a file or a pipe that came out empty.
    let items = items.ok_or(PayloadError::Form { line: 1, column: 1 })?;
    items.into_iter().enumerate().map(|(i, item)| convert(i + 1, item)).collect()
}

/// What is wrong and where, without what is there.
fn malformed(error: &serde_saphyr::Error) -> PayloadError {
    let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
    match error.without_snippet() {
        serde_saphyr::Error::QuotingRequired { .. }
        | serde_saphyr::Error::NullIntoString { .. } => PayloadError::Quotes { line },
        _ => PayloadError::Form { line, column },
    }
}

fn convert(number: usize, item: Item) -> Result<PayloadEntryChange, PayloadError> {
    let value = match (item.text_value, item.binary_value) {
        (None, None) => None,
        (Some(text), None) => Some(Value::TextValue(text.expose().clone())),
        (None, Some(base64)) => {
            // A long value may be wrapped into lines.
            let mut digits = SensitiveBytes::new(base64.expose().clone().into_bytes());
            digits.expose_mut().retain(|byte| !byte.is_ascii_whitespace());
            let decoded = STANDARD.decode(digits.expose());
            let bytes = decoded.map_err(|_invalid| PayloadError::NotBase64 { number })?;
            Some(Value::BinaryValue(bytes))
        }
        (Some(_), Some(_)) => return Err(PayloadError::TwoValues { number }),
    };
    Ok(PayloadEntryChange { key: item.key, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> Result<Vec<PayloadEntryChange>, String> {
        parse(&SensitiveString::new(text.to_owned())).map_err(|error| error.to_string())
    }

    fn text(key: &str, value: &str) -> PayloadEntryChange {
        PayloadEntryChange { key: key.to_owned(), value: Some(Value::TextValue(value.to_owned())) }
    }

    fn binary(key: &str, value: &[u8]) -> PayloadEntryChange {
        PayloadEntryChange {
            key: key.to_owned(),
            value: Some(Value::BinaryValue(value.to_owned())),
        }
    }

    #[test]
    fn every_published_spelling_is_read() {
        let both = Ok(vec![text("a", "x"), binary("b", b"hi")]);
        for spelling in [
            r#"[{"key": "a", "text_value": "x"}, {"key": "b", "binary_value": "aGk="}]"#,
            r#"[{"key":"a","textValue":"x"},{"key":"b","binaryValue":"aGk="}]"#,
            "[{'key': 'a', 'text_value': 'x'}, {'key': 'b', 'binary_value': 'aGk='}]",
            "[{key: a, textValue: x}, {key: b, binaryValue: aGk=}]",
            "- key: a\n  text_value: x\n- key: b\n  binary_value: aGk=\n",
            "- key: a\n  text_value: x\n- key: b\n  binary_value: !!binary aGk=\n",
            "- key: a\n  text_value: x\n- key: b\n  binary_value: |\n    aG\n    k=\n",
        ] {
            assert_eq!(items(spelling), both, "{spelling}");
        }
    }

    #[test]
    fn text_keeps_every_character() {
        let block = "- key: a\n  text_value: |\n    one\n    two\n";
        assert_eq!(items(block), Ok(vec![text("a", "one\ntwo\n")]));
        let json = r#"[{"key":"a","text_value":"\u00e9\n\ud83d\ude00\\\/\""}]"#;
        assert_eq!(items(json), Ok(vec![text("a", "é\n😀\\/\"")]));
        assert_eq!(items("[{key: a, text_value: '0123'}]"), Ok(vec![text("a", "0123")]));
        assert_eq!(items("[{key: a, text_value: ''}]"), Ok(vec![text("a", "")]));
    }

    #[test]
    fn an_item_with_only_a_key_removes_and_an_empty_array_is_nothing() {
        let removal = PayloadEntryChange { key: "a".to_owned(), value: None };
        assert_eq!(items("[{key: a}]"), Ok(vec![removal]));
        assert_eq!(items("[]"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_text_is_never_guessed_at() {
        for value in ["12345", "0123", "1.5", "true", "yes", "null", "~", ""] {
            let spelling = format!("- key: a\n  text_value: {value}\n");
            let refusal = items(&spelling).unwrap_err();
            assert!(refusal.contains("put it in quotes (line 2)"), "{value}: {refusal}");
        }
        let json = r#"[{"key": "a", "textValue": null}]"#;
        assert!(items(json).unwrap_err().contains("put it in quotes"));
    }

    #[test]
    fn errors_say_where_and_quote_nothing() {
        for (spelling, place) in [
            ("[{key: a, text_value: [canary]}]", "line 1"),
            ("- key: a\n  canary: b", "line 2"),
            ("- canary", "line 1"),
            ("canary: a", "line 1"),
            ("[{key: a, text_value: canary", "line 1"),
            ("- key: a\n  text_value: canary\n  textValue: canary\n", "line"),
            ("- text_value: canary\n", "line 1"),
            ("- key: a\n---\n- key: canary\n", "line 3"),
            ("- key: a\n  text_value: \"canary\\q\"\n", "line 2"),
            ("[{key: a, binary_value: 'canary!'}]", "item 1"),
            ("[{key: a}, {key: b, text_value: canary, binary_value: aGk=}]", "item 2"),
        ] {
            let refusal = items(spelling).unwrap_err();
            assert!(refusal.contains(place), "{spelling}: {refusal}");
            assert!(!refusal.contains("canary"), "{refusal}");
        }
    }

    #[test]
    fn an_empty_text_is_a_mistake_and_not_an_empty_payload() {
        for nothing in ["", "\n", "# only a comment\n"] {
            assert!(items(nothing).is_err(), "{nothing:?}");
        }
    }

    #[test]
    fn the_text_comes_from_where_the_argument_says() {
        let argument = |text: &str| SensitiveString::new(text.to_owned());
        let stdin: &[u8] = b"[{key: in}]";
        let got = |text: &str| read(argument(text), stdin).map(|text| text.expose().clone());
        assert_eq!(got("-").unwrap(), "[{key: in}]");
        assert_eq!(got("[]").unwrap(), "[]");
        assert_eq!(got("- key: a").unwrap(), "- key: a");

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("payload.yaml");
        std::fs::write(&path, "[{key: file}]").unwrap();
        assert_eq!(got(&format!("@{}", path.display())).unwrap(), "[{key: file}]");

        let absent = got("@/absent/file").unwrap_err().to_string();
        assert!(absent.starts_with("cannot read the payload from /absent/file"), "{absent}");
        let binary: &[u8] = &[0xff];
        assert!(matches!(read(argument("-"), binary), Err(PayloadError::NotText)));
        let endless = std::io::repeat(b' ');
        assert!(matches!(read(argument("-"), endless), Err(PayloadError::TooLong)));
    }
}

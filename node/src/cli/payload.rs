//! `lockbox payload get`: the values of a version.
//!
//! Promises: with `--key` the output is the value, byte for byte, and nothing else.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use lockbox_core::SensitiveBytes;
use lockbox_proto::yandex::cloud::lockbox::v1::payload::entry::Value;
use lockbox_proto::yandex::cloud::lockbox::v1::payload_service_client::PayloadServiceClient;
use lockbox_proto::yandex::cloud::lockbox::v1::{GetPayloadRequest, Payload};

use crate::cli::connect::{ConnectionFlags, Context};
use crate::cli::environment::Environment;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Record};
use crate::cli::secret::target::Target;
use crate::cli::session::Kind;

/// Largest answer that is taken, in bytes: a server's limits may have been raised.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// `lockbox payload`.
#[derive(Debug, Args)]
pub(crate) struct PayloadArgs {
    #[command(flatten)]
    connection: ConnectionFlags,
    #[command(subcommand)]
    command: PayloadCommand,
}

#[derive(Debug, Subcommand)]
enum PayloadCommand {
    /// Shows the entries of a version, or writes the value of one of them.
    Get(Get),
}

#[derive(Debug, Args)]
struct Get {
    #[command(flatten)]
    target: Target,
    /// Write only the value of this entry: raw, text or binary, without a newline.
    #[arg(long)]
    key: Option<String>,
    /// The version; the current one when not given.
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    version_id: Option<String>,
}

/// Runs `lockbox payload`.
pub(crate) fn run(arguments: &PayloadArgs, environment: &Environment) -> Result<(), Failure> {
    let context = Context::new(&arguments.connection, environment)?;
    let PayloadCommand::Get(get) = &arguments.command;
    let payload = context.run(async |session| {
        let secret_id = get.target.resolve(session, &context).await?;
        let version_id = get.version_id.clone().unwrap_or_default();
        let request = GetPayloadRequest { secret_id, version_id };
        let send = async |channel, request| {
            let client = PayloadServiceClient::new(channel);
            client.max_decoding_message_size(ANSWER_BYTES_MAX).get(request).await
        };
        session.call(Kind::Repeatable, &request, send).await
    })?;
    let bytes = match get.key.as_deref() {
        Some(key) => value(payload, key)?,
        None => output::one(context.format(), &Record::of(&payload)?)?.into_bytes().into(),
    };
    output::write(bytes.expose())
}

/// The bytes of one entry.
fn value(payload: Payload, key: &str) -> Result<SensitiveBytes, Failure> {
    let version_id = payload.version_id;
    let entry = payload.entries.into_iter().find(|entry| entry.key == key);
    let entry = entry.ok_or_else(|| {
        let absent = format_args!("NOT_FOUND: version {version_id} has no entry {key:?}");
        Failure::new(Exit::Refused, absent)
    })?;
    let bytes = match entry.value {
        Some(Value::TextValue(text)) => text.into_bytes(),
        Some(Value::BinaryValue(bytes)) => bytes,
        None => Vec::new(),
    };
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use lockbox_proto::yandex::cloud::lockbox::v1::payload::Entry;

    use super::*;

    #[test]
    fn a_value_is_its_bytes_and_an_absent_key_is_named() {
        let entry = |key: &str, value| Entry { key: key.to_owned(), value: Some(value) };
        let payload = Payload {
            version_id: "e6q1".to_owned(),
            entries: vec![
                entry("text", Value::TextValue("a\n".to_owned())),
                entry("bytes", Value::BinaryValue(vec![0, 255])),
            ],
        };
        assert_eq!(value(payload.clone(), "text").unwrap().expose(), b"a\n");
        assert_eq!(value(payload.clone(), "bytes").unwrap().expose(), &[0, 255]);
        let absent = value(payload, "none").map(|_| ()).unwrap_err();
        assert_eq!(absent.to_string(), "NOT_FOUND: version e6q1 has no entry \"none\"");
    }
}

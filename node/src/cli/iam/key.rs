//! `lockbox iam key create | list | delete`: authorized keys, by which accounts log in.
//!
//! How a key is rotated: make one, use it, delete the other.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum, value_parser};
use lockbox_platform::authorized_key::{AuthorizedKeyFile, KeyAlgorithm};
use lockbox_proto::yandex::cloud::iam::v1 as wire;
use wire::key_service_client::KeyServiceClient;

use super::key_place::KeyPlace;
use crate::cli::connect::Context;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Record, Table};
use crate::cli::secret::list::{pages, text};
use crate::cli::secret::mutation::MutationFlags;
use crate::cli::session::{Kind, Session};

/// `lockbox iam key`.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Makes a key of an account and writes it into a file.
    Create(Create),
    /// Lists the keys of an account.
    List(List),
    /// Deletes a key; every token that was made with it is worth nothing then.
    Delete(Delete),
}

impl KeyArgs {
    /// Runs the command.
    pub(crate) fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        match self.command {
            KeyCommand::Create(create) => create.run(context),
            KeyCommand::List(list) => list.run(context),
            KeyCommand::Delete(delete) => delete.run(context),
        }
    }
}

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Algorithm {
    /// RSA of 2048 bits.
    #[value(name = "rsa-2048")]
    Rsa2048,
    /// RSA of 4096 bits.
    #[value(name = "rsa-4096")]
    Rsa4096,
}

impl Algorithm {
    const fn of_file(self) -> KeyAlgorithm {
        match self {
            Self::Rsa2048 => KeyAlgorithm::Rsa2048,
            Self::Rsa4096 => KeyAlgorithm::Rsa4096,
        }
    }

    const fn of_wire(self) -> wire::key::Algorithm {
        match self {
            Self::Rsa2048 => wire::key::Algorithm::Rsa2048,
            Self::Rsa4096 => wire::key::Algorithm::Rsa4096,
        }
    }
}

/// The key to make.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Where to write the key. It must not exist; `-` is standard output, to which nothing else is
    /// written then.
    ///
    /// The server makes the key and gives its private half out once. It is not asked again when its
    /// answer is lost: then list the keys, and delete the one that nobody has.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The account; the caller's own when not given. An empty id, as of a variable that is not set,
    /// is refused.
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    service_account_id: Option<String>,
    /// Free text.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    /// How it signs.
    #[arg(long, value_enum, default_value_t = Algorithm::Rsa2048)]
    algorithm: Algorithm,
}

impl Create {
    fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        // ORDER: the place first, so that no key is made that has none.
        let place = KeyPlace::take(&self.output)?;
        let shown = matches!(place, KeyPlace::Output);
        let request = wire::CreateKeyRequest {
            service_account_id: self.service_account_id.unwrap_or_default(),
            description: self.description,
            key_algorithm: self.algorithm.of_wire().into(),
            ..Default::default()
        };
        context.run(async |session| {
            let send =
                async |channel, request| KeyServiceClient::new(channel).create(request).await;
            let made = session.call(Kind::Once, &request, send).await?;
            let key = made.key.unwrap_or_default();
            let file = AuthorizedKeyFile {
                id: key.id.clone(),
                service_account_id: account_of(&key),
                created_at: text(key.created_at.as_ref()),
                key_algorithm: self.algorithm.of_file(),
                public_key: key.public_key.clone(),
                private_key: made.private_key.into(),
            };
            place.fill(&file).map_err(|failure| lost(&key.id, &failure))?;
            if shown {
                return Ok(String::new());
            }
            output::one(context.format(), &Record::of(&key)?)
        })
    }
}

fn lost(key_id: &str, failure: &Failure) -> Failure {
    let next = format_args!("lockbox iam key delete {key_id}");
    Failure::usage(format_args!("{failure}; the key is made and nobody has it: {next}"))
}

fn account_of(key: &wire::Key) -> String {
    match &key.subject {
        Some(wire::key::Subject::ServiceAccountId(id) | wire::key::Subject::UserAccountId(id)) => {
            id.clone()
        }
        None => String::new(),
    }
}

/// The account whose keys to list.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// The account; the caller's own when not given. An empty id, as of a variable that is not set,
    /// is refused.
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    service_account_id: Option<String>,
    /// The most that is listed.
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u64).range(1..))]
    limit: u64,
}

impl List {
    fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        context.run(async |session| {
            let keys = self.all(session).await?;
            let records: Result<Vec<_>, _> = keys.iter().map(Record::of).collect();
            output::many(context.format(), &records?, || table(&keys))
        })
    }

    async fn all(&self, session: &Session) -> Result<Vec<wire::Key>, Failure> {
        let fetch = async |page_size, page_token| {
            let request = wire::ListKeysRequest {
                service_account_id: self.service_account_id.clone().unwrap_or_default(),
                page_size,
                page_token,
                ..Default::default()
            };
            let send = async |channel, request| KeyServiceClient::new(channel).list(request).await;
            let page = session.call(Kind::Repeatable, &request, send).await?;
            Ok((page.keys, page.next_page_token))
        };
        pages(self.limit, fetch).await
    }
}

fn table(keys: &[wire::Key]) -> Table {
    let row = |key: &wire::Key| {
        let algorithm = key.key_algorithm().as_str_name().to_owned();
        let created_at = text(key.created_at.as_ref());
        vec![key.id.clone(), created_at, account_of(key), algorithm, key.description.clone()]
    };
    Table {
        columns: vec!["ID", "CREATED AT", "SERVICE ACCOUNT ID", "ALGORITHM", "DESCRIPTION"],
        rows: keys.iter().map(row).collect(),
    }
}

/// The key to delete.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The key's id.
    #[arg(value_name = "ID")]
    key_id: String,
    #[command(flatten)]
    mutation: MutationFlags,
}

impl Delete {
    fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        let request = wire::DeleteKeyRequest { key_id: self.key_id };
        context.run(async |session| {
            let send =
                async |channel, request| KeyServiceClient::new(channel).delete(request).await;
            let operation = self.mutation.call(session, &request, send).await?;
            self.mutation.finish(session, operation, context.format()).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_key_is_named() {
        let told = lost("ajk1", &Failure::usage("no space")).to_string();
        assert!(told.starts_with("no space; "), "{told}");
        assert!(told.contains("lockbox iam key delete ajk1"), "{told}");
    }
}

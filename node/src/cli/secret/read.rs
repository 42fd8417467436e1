//! `lockbox secret get`, `list` and `list-versions`.

use clap::{Args, value_parser};
use lockbox_proto::yandex::cloud::lockbox::v1::GetSecretRequest;
use lockbox_proto::yandex::cloud::lockbox::v1::secret_service_client::SecretServiceClient;

use crate::cli::connect::Context;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Record};
use crate::cli::secret::list::{all_secrets, all_versions, secrets_table, versions_table};
use crate::cli::secret::target::Target;
use crate::cli::session::Kind;

/// The secret to show.
#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    target: Target,
}

impl Get {
    /// Shows the secret.
    pub(crate) fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        context.run(async |session| {
            let secret_id = self.target.resolve(session, context).await?;
            let request = GetSecretRequest { secret_id };
            let send =
                async |channel, request| SecretServiceClient::new(channel).get(request).await;
            let secret = session.call(Kind::Repeatable, &request, send).await?;
            output::one(context.format(), &Record::of(&secret)?)
        })
    }
}

/// How much to list.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// The most that is listed.
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u64).range(1..))]
    limit: u64,
}

impl List {
    /// Lists the secrets of the folder.
    pub(crate) fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        let folder = context.folder()?;
        context.run(async |session| {
            let folder_id = folder.id(session).await?;
            let secrets = all_secrets(session, &folder_id, self.limit).await?;
            let records: Result<Vec<_>, _> = secrets.iter().map(Record::of).collect();
            output::many(context.format(), &records?, || secrets_table(&secrets))
        })
    }
}

/// The secret whose versions to list.
#[derive(Debug, Args)]
pub(crate) struct ListVersions {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    list: List,
}

impl ListVersions {
    /// Lists the versions of the secret.
    pub(crate) fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        context.run(async |session| {
            let secret_id = self.target.resolve(session, context).await?;
            let versions = all_versions(session, &secret_id, self.list.limit).await?;
            let records: Result<Vec<_>, _> = versions.iter().map(Record::of).collect();
            output::many(context.format(), &records?, || versions_table(&versions))
        })
    }
}

//! `lockbox kms symmetric-key get`, `list`, `list-versions` and `list-operations`.

use clap::{Args, value_parser};
use lockbox_proto::yandex::cloud::kms::v1::symmetric_key_service_client::SymmetricKeyServiceClient;
use lockbox_proto::yandex::cloud::kms::v1::{
    GetSymmetricKeyRequest, ListSymmetricKeyOperationsRequest, ListSymmetricKeyVersionsRequest,
    ListSymmetricKeysRequest, SymmetricKey, SymmetricKeyVersion,
};

use crate::cli::failure::Failure;
use crate::cli::kms::connect::KmsContext;
use crate::cli::kms::target::KeyTarget;
use crate::cli::output::{self, Record, Table};
use crate::cli::secret::list::{pages, text};
use crate::cli::secret::operations;
use crate::cli::session::{Kind, Session};

/// The key to show.
#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    target: KeyTarget,
}

impl Get {
    /// Shows the key.
    pub(crate) fn run(self, context: &KmsContext<'_>) -> Result<String, Failure> {
        context.run(async |kms| {
            let key_id = self.target.resolve(kms).await?;
            let request = GetSymmetricKeyRequest { key_id };
            let send =
                async |channel, request| SymmetricKeyServiceClient::new(channel).get(request).await;
            let key = kms.session.call(Kind::Repeatable, &request, send).await?;
            output::one(context.format(), &Record::of(&key)?)
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
    /// Lists the keys of the folder.
    pub(crate) fn run(self, context: &KmsContext<'_>) -> Result<String, Failure> {
        let folder = context.folder()?;
        context.run(async |kms| {
            let folder_id = folder.id(kms.node).await?;
            let keys = all_keys(&kms.session, &folder_id, self.limit).await?;
            let records: Result<Vec<_>, _> = keys.iter().map(Record::of).collect();
            output::many(context.format(), &records?, || keys_table(&keys))
        })
    }
}

/// The key whose versions to list.
#[derive(Debug, Args)]
pub(crate) struct ListVersions {
    #[command(flatten)]
    target: KeyTarget,
    #[command(flatten)]
    list: List,
}

impl ListVersions {
    /// Lists the versions of the key, newest first.
    pub(crate) fn run(self, context: &KmsContext<'_>) -> Result<String, Failure> {
        context.run(async |kms| {
            let key_id = self.target.resolve(kms).await?;
            let fetch = async |page_size, page_token| {
                let key_id = key_id.clone();
                let request = ListSymmetricKeyVersionsRequest { key_id, page_size, page_token };
                let send = async |channel, request| {
                    SymmetricKeyServiceClient::new(channel).list_versions(request).await
                };
                let page = kms.session.call(Kind::Repeatable, &request, send).await?;
                Ok((page.key_versions, page.next_page_token))
            };
            let versions = pages(self.list.limit, fetch).await?;
            let records: Result<Vec<_>, _> = versions.iter().map(Record::of).collect();
            output::many(context.format(), &records?, || versions_table(&versions))
        })
    }
}

/// The key whose operations to list.
#[derive(Debug, Args)]
pub(crate) struct ListOperations {
    #[command(flatten)]
    target: KeyTarget,
    #[command(flatten)]
    list: List,
}

impl ListOperations {
    /// Lists what was done to the key, newest first.
    pub(crate) fn run(self, context: &KmsContext<'_>) -> Result<String, Failure> {
        context.run(async |kms| {
            let key_id = self.target.resolve(kms).await?;
            let fetch = async |page_size, page_token| {
                let key_id = key_id.clone();
                let request = ListSymmetricKeyOperationsRequest { key_id, page_size, page_token };
                let send = async |channel, request| {
                    SymmetricKeyServiceClient::new(channel).list_operations(request).await
                };
                let page = kms.session.call(Kind::Repeatable, &request, send).await?;
                Ok((page.operations, page.next_page_token))
            };
            let listed = pages(self.list.limit, fetch).await?;
            let records: Result<Vec<_>, _> = listed.iter().map(Record::of).collect();
            output::many(context.format(), &records?, || operations::table(&listed))
        })
    }
}

/// Up to `limit` keys of a folder.
pub(crate) async fn all_keys(
    session: &Session,
    folder_id: &str,
    limit: u64,
) -> Result<Vec<SymmetricKey>, Failure> {
    let fetch = async |page_size, page_token| {
        let folder_id = folder_id.to_owned();
        let request = ListSymmetricKeysRequest { folder_id, page_size, page_token };
        let send =
            async |channel, request| SymmetricKeyServiceClient::new(channel).list(request).await;
        let page = session.call(Kind::Repeatable, &request, send).await?;
        Ok((page.keys, page.next_page_token))
    };
    pages(limit, fetch).await
}

fn keys_table(keys: &[SymmetricKey]) -> Table {
    let row = |key: &SymmetricKey| {
        let primary = key.primary_version.as_ref().map(|version| version.id.clone());
        vec![
            key.id.clone(),
            key.name.clone(),
            primary.unwrap_or_default(),
            key.default_algorithm().as_str_name().to_owned(),
            text(key.created_at.as_ref()),
            key.status().as_str_name().to_owned(),
        ]
    };
    Table {
        columns: vec![
            "ID",
            "NAME",
            "PRIMARY VERSION ID",
            "DEFAULT ALGORITHM",
            "CREATED AT",
            "STATUS",
        ],
        rows: keys.iter().map(row).collect(),
    }
}

/// The versions for people (`contract §11`).
fn versions_table(versions: &[SymmetricKeyVersion]) -> Table {
    let row = |version: &SymmetricKeyVersion| {
        vec![
            version.id.clone(),
            version.primary.to_string(),
            version.status().as_str_name().to_owned(),
            version.algorithm().as_str_name().to_owned(),
            text(version.created_at.as_ref()),
            text(version.destroy_at.as_ref()),
        ]
    };
    Table {
        columns: vec!["ID", "PRIMARY", "STATUS", "ALGORITHM", "CREATED AT", "DESTROY AT"],
        rows: versions.iter().map(row).collect(),
    }
}

//! `lockbox secret list-operations`.

use clap::{Args, value_parser};
use lockbox_proto::yandex::cloud::lockbox::v1::ListSecretOperationsRequest;
use lockbox_proto::yandex::cloud::lockbox::v1::secret_service_client::SecretServiceClient;
use lockbox_proto::yandex::cloud::operation::{Operation, operation};

use crate::cli::connect::Context;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Record, Table};
use crate::cli::secret::list::{pages, text};
use crate::cli::secret::target::Target;
use crate::cli::session::Kind;

/// The secret whose operations to list.
#[derive(Debug, Args)]
pub(crate) struct ListOperations {
    #[command(flatten)]
    target: Target,
    /// The most that is listed.
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u64).range(1..))]
    limit: u64,
}

impl ListOperations {
    /// Lists what was done to the secret, newest first.
    pub(crate) fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        context.run(async |session| {
            let secret_id = self.target.resolve(session, context).await?;
            let fetch = async |page_size, page_token| {
                let secret_id = secret_id.clone();
                let request = ListSecretOperationsRequest { secret_id, page_size, page_token };
                let send = async |channel, request| {
                    SecretServiceClient::new(channel).list_operations(request).await
                };
                let page = session.call(Kind::Repeatable, &request, send).await?;
                Ok((page.operations, page.next_page_token))
            };
            let operations = pages(self.limit, fetch).await?;
            let records: Result<Vec<_>, _> = operations.iter().map(Record::of).collect();
            output::many(context.format(), &records?, || table(&operations))
        })
    }
}

/// The operations for people.
pub(crate) fn table(operations: &[Operation]) -> Table {
    let row = |one: &Operation| {
        let status = match (&one.result, one.done) {
            (Some(operation::Result::Error(_)), _) => "ERROR",
            (_, true) => "DONE",
            (_, false) => "RUNNING",
        };
        vec![
            one.id.clone(),
            text(one.created_at.as_ref()),
            one.created_by.clone(),
            text(one.modified_at.as_ref()),
            status.to_owned(),
            one.description.clone(),
        ]
    };
    Table {
        columns: vec!["ID", "CREATED AT", "CREATED BY", "MODIFIED AT", "STATUS", "DESCRIPTION"],
        rows: operations.iter().map(row).collect(),
    }
}

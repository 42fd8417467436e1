//! What changes have in common: an idempotency key, and an operation to wait for.

use std::time::Duration;

use clap::Args;
use lockbox_proto::yandex::cloud::operation::operation_service_client::OperationServiceClient;
use lockbox_proto::yandex::cloud::operation::{GetOperationRequest, Operation, operation};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Format, Record};
use crate::cli::session::{Kind, Session, new_idempotency_key};

/// Wait between two looks at an operation that is not finished.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Flags of every command that changes something.
#[derive(Debug, Args)]
pub(crate) struct MutationFlags {
    /// Print the operation, without waiting for its end.
    #[arg(long = "async")]
    unattended: bool,
    /// Repeat a command with the key it had, and it is done once; made up when not given.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl MutationFlags {
    /// Sends the change; every try of it carries the same key.
    pub(crate) async fn call<M: Clone>(
        &self,
        session: &Session,
        request: &M,
        send: impl AsyncFn(Channel, Request<M>) -> Result<Response<Operation>, Status>,
    ) -> Result<Operation, Failure> {
        let key = self.idempotency_key.clone().unwrap_or_else(new_idempotency_key);
        session.call(Kind::Mutation(&key), request, send).await
    }

    /// Waits for the end of the operation and shows what came of it.
    pub(crate) async fn finish(
        &self,
        session: &Session,
        operation: Operation,
        format: Format,
    ) -> Result<String, Failure> {
        if self.unattended {
            return output::one(format, &Record::of(&operation)?);
        }
        let mut operation = operation;
        while !operation.done {
            session.pause(POLL_INTERVAL).await?;
            let request = GetOperationRequest { operation_id: operation.id.clone() };
            let send =
                async |channel, request| OperationServiceClient::new(channel).get(request).await;
            operation = session.call(Kind::Repeatable, &request, send).await?;
        }
        match &operation.result {
            Some(operation::Result::Response(response)) => {
                output::one(format, &Record::of_any(response)?)
            }
            Some(operation::Result::Error(error)) => {
                Err(Failure::operation(session.address(), error))
            }
            None => Err(Failure::new(
                Exit::Internal,
                format_args!("operation {} has ended without a result", operation.id),
            )),
        }
    }
}

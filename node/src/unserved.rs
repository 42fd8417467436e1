//! Calls that reach no handler: methods that a later release serves, and messages that are none,
//! by gRPC and by REST.
//!
//! One place for all of them: the generated code answers with a bare status, or a handler does by
//! [`unserved`], and [`recorded`] sees it on its way out. It writes the audit record that every
//! call has (`contract §14` no. 18) and gives the answer its code and details. A call that a handler
//! took up is that handler's to record, so no call is recorded twice. One that was refused because
//! too many are under way is only counted and logged: its record would be one more.

use std::sync::Arc;

use axum::body::Body;
use futures::FutureExt;
use http::Response;
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::RequestDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::http_service::HttpService;
use lockbox_platform::request::RequestContext;
use lockbox_platform::status::ApiError;
use lockbox_platform::unhandled::{ACCEPTED_ENCODINGS, Undecoded, Unhandled};
use lockbox_proto::METHODS;
use tonic::Status;

use crate::app::App;
use crate::call::{Call, detached};

const MESSAGE: &str = "this method is not served yet";

/// The events of methods whose own name says too little, as `contract §6.1` would name them.
const EVENTS: [(&str, &str); 57] = [
    ("/lockbox.iam.v1.AccessService/Explain", "ExplainAccess"),
    ("/lockbox.iam.v1.AccessService/ListBindings", "ListBindings"),
    ("/lockbox.iam.v1.AccessService/UpdateBindings", "UpdateBindings"),
    ("/lockbox.watch.v1.WatchService/Watch", "WatchSecrets"),
    ("/yandex.cloud.iam.v1.IamTokenService/Create", "CreateIamToken"),
    ("/yandex.cloud.iam.v1.KeyService/Create", "CreateKey"),
    ("/yandex.cloud.iam.v1.KeyService/Delete", "DeleteKey"),
    ("/yandex.cloud.iam.v1.KeyService/Get", "GetKey"),
    ("/yandex.cloud.iam.v1.KeyService/List", "ListKeys"),
    ("/yandex.cloud.iam.v1.ServiceAccountService/Create", "CreateServiceAccount"),
    ("/yandex.cloud.iam.v1.ServiceAccountService/Get", "GetServiceAccount"),
    ("/yandex.cloud.iam.v1.ServiceAccountService/List", "ListServiceAccounts"),
    ("/yandex.cloud.lockbox.v1.PayloadService/Get", "GetPayload"),
    ("/yandex.cloud.lockbox.v1.PayloadService/GetEx", "GetPayloadEx"),
    ("/yandex.cloud.lockbox.v1.SecretService/Activate", "ActivateSecret"),
    ("/yandex.cloud.lockbox.v1.SecretService/Create", "CreateSecret"),
    ("/yandex.cloud.lockbox.v1.SecretService/Deactivate", "DeactivateSecret"),
    ("/yandex.cloud.lockbox.v1.SecretService/Delete", "DeleteSecret"),
    ("/yandex.cloud.lockbox.v1.SecretService/Get", "GetSecret"),
    ("/yandex.cloud.lockbox.v1.SecretService/List", "ListSecrets"),
    ("/yandex.cloud.lockbox.v1.SecretService/Update", "UpdateSecret"),
    ("/yandex.cloud.operation.OperationService/Cancel", "CancelOperation"),
    ("/yandex.cloud.operation.OperationService/Get", "GetOperation"),
    ("/yandex.cloud.resourcemanager.v1.FolderService/Get", "GetFolder"),
    ("/yandex.cloud.resourcemanager.v1.FolderService/List", "ListFolders"),
    (
        "/yandex.cloud.resourcemanager.v1.FolderService/ListAccessBindings",
        "ListFolderAccessBindings",
    ),
    ("/yandex.cloud.resourcemanager.v1.FolderService/SetAccessBindings", "SetFolderAccessBindings"),
    (
        "/yandex.cloud.resourcemanager.v1.FolderService/UpdateAccessBindings",
        "UpdateFolderAccessBindings",
    ),
    ("/yandex.cloud.iam.v1.IamTokenService/CreateForServiceAccount", "CreateIamToken"),
    ("/yandex.cloud.iam.v1.IamTokenService/Revoke", "RevokeIamToken"),
    ("/yandex.cloud.iam.v1.KeyService/ListOperations", "ListKeyOperations"),
    ("/yandex.cloud.iam.v1.KeyService/Update", "UpdateKey"),
    ("/yandex.cloud.iam.v1.ServiceAccountService/Delete", "DeleteServiceAccount"),
    (
        "/yandex.cloud.iam.v1.ServiceAccountService/ListAccessBindings",
        "ListServiceAccountAccessBindings",
    ),
    ("/yandex.cloud.iam.v1.ServiceAccountService/ListOperations", "ListServiceAccountOperations"),
    ("/yandex.cloud.iam.v1.ServiceAccountService/Reactivate", "ReactivateServiceAccount"),
    (
        "/yandex.cloud.iam.v1.ServiceAccountService/SetAccessBindings",
        "SetServiceAccountAccessBindings",
    ),
    ("/yandex.cloud.iam.v1.ServiceAccountService/Suspend", "SuspendServiceAccount"),
    ("/yandex.cloud.iam.v1.ServiceAccountService/Update", "UpdateServiceAccount"),
    (
        "/yandex.cloud.iam.v1.ServiceAccountService/UpdateAccessBindings",
        "UpdateServiceAccountAccessBindings",
    ),
    ("/yandex.cloud.lockbox.v1.SecretService/ListAccessBindings", "ListSecretAccessBindings"),
    ("/yandex.cloud.lockbox.v1.SecretService/ListOperations", "ListSecretOperations"),
    ("/yandex.cloud.lockbox.v1.SecretService/SetAccessBindings", "SetSecretAccessBindings"),
    ("/yandex.cloud.lockbox.v1.SecretService/UpdateAccessBindings", "UpdateSecretAccessBindings"),
    ("/yandex.cloud.resourcemanager.v1.FolderService/Create", "CreateFolder"),
    ("/yandex.cloud.resourcemanager.v1.FolderService/Delete", "DeleteFolder"),
    ("/yandex.cloud.resourcemanager.v1.FolderService/ListOperations", "ListFolderOperations"),
    ("/yandex.cloud.resourcemanager.v1.FolderService/Update", "UpdateFolder"),
    ("/yandex.cloud.resourcemanager.v1.CloudService/Create", "CreateCloud"),
    ("/yandex.cloud.resourcemanager.v1.CloudService/Delete", "DeleteCloud"),
    ("/yandex.cloud.resourcemanager.v1.CloudService/Get", "GetCloud"),
    ("/yandex.cloud.resourcemanager.v1.CloudService/List", "ListClouds"),
    ("/yandex.cloud.resourcemanager.v1.CloudService/ListAccessBindings", "ListCloudAccessBindings"),
    ("/yandex.cloud.resourcemanager.v1.CloudService/ListOperations", "ListCloudOperations"),
    ("/yandex.cloud.resourcemanager.v1.CloudService/SetAccessBindings", "SetCloudAccessBindings"),
    ("/yandex.cloud.resourcemanager.v1.CloudService/Update", "UpdateCloud"),
    (
        "/yandex.cloud.resourcemanager.v1.CloudService/UpdateAccessBindings",
        "UpdateCloudAccessBindings",
    ),
];

/// The answer of a method that a later release serves; [`recorded`] completes it.
#[must_use]
pub fn unserved() -> Status {
    Status::unimplemented(MESSAGE)
}

/// The services, and a record of each call that reached no handler. Inside the request layer.
#[must_use]
pub fn recorded(app: Arc<App>, services: HttpService) -> HttpService {
    HttpService::new(move |request| {
        let context = request.extensions().get::<Arc<RequestContext>>().cloned();
        let undecoded = Undecoded::of(&request);
        let answered = services.answer(request);
        let app = Arc::clone(&app);
        async move {
            let response = answered.await;
            let Some(context) = context.filter(|context| !context.is_handled()) else {
                return response;
            };
            match Unhandled::of(response.headers(), &context.method, undecoded) {
                Some(unhandled) => record(app, context, unhandled, response).await,
                None => response,
            }
        }
        .boxed()
    })
}

/// Completes and records a call that reached no handler.
async fn record(
    app: Arc<App>,
    context: Arc<RequestContext>,
    unhandled: Unhandled,
    response: Response<Body>,
) -> Response<Body> {
    let accepted = response.headers().get(ACCEPTED_ENCODINGS).cloned();
    let mut response = answer_unhandled(app, context, unhandled, response).await;
    if let Some(accepted) = accepted {
        response.headers_mut().insert(ACCEPTED_ENCODINGS, accepted);
    }
    response
}

async fn answer_unhandled(
    app: Arc<App>,
    context: Arc<RequestContext>,
    unhandled: Unhandled,
    response: Response<Body>,
) -> Response<Body> {
    let request_id = context.request_id.clone();
    let completed = |error: ApiError| error.into_status(&request_id).into_http();
    let defined = METHODS.iter().any(|method| method.grpc_path == context.method);
    let (details, unread) = match (event(&context.method), unhandled) {
        (_, Unhandled::NoRoom(error)) => return completed(error),
        (None, Unhandled::Message(error)) if defined => return completed(error),
        (None, Unhandled::Message(_)) => return response,
        // What is in no definition is no call: whoever tries out names must not fill the audit.
        (None, Unhandled::Method(error)) => return completed(error),
        (Some(details), Unhandled::Message(error)) => (details, Some(error)),
        (Some(details), Unhandled::Method(_)) => (details, None),
    };
    let method = context.method.clone();
    let calls = app.calls.clone();
    let recorded = detached(&calls, async move {
        let mut call = Call::of(&app, context, details);
        call.recognise();
        let error = match unread {
            None => ApiError::unimplemented(MESSAGE),
            Some(error) => call.unauthenticated().unwrap_or(error),
        };
        call.finish(Err::<(), _>(error)).await
    });
    // A call that ends with an error has no message; should it have one, the answer stands.
    let Err(status) = recorded.await else { return response };
    let recorded = status.into_http();
    match Unhandled::of(recorded.headers(), &method, None) {
        // There was none for the recording either.
        Some(Unhandled::NoRoom(error)) => completed(error),
        Some(Unhandled::Message(_) | Unhandled::Method(_)) | None => recorded,
    }
}

/// The event of a method of the definitions; what is in none is no call of ours.
fn event(grpc_path: &str) -> Option<AuditDetails> {
    let named = EVENTS.iter().find(|(path, _)| *path == grpc_path).map(|(_, name)| *name);
    let method = METHODS.iter().find(|method| method.grpc_path == grpc_path);
    let event_name = named.or_else(|| method.map(|method| method.method))?;
    let source = source(grpc_path.strip_prefix('/')?.split('/').next()?)?;
    Some(AuditDetails::Request(RequestDetails { source, event_name, ids: Default::default() }))
}

fn source(service: &str) -> Option<EventSource> {
    match service {
        "lockbox.iam.v1.AccessService" => return Some(EventSource::Iam),
        "lockbox.watch.v1.WatchService" => return Some(EventSource::Lockbox),
        _ => {}
    }
    let package = service.strip_prefix("yandex.cloud.")?.split('.').next()?;
    match package {
        "lockbox" => Some(EventSource::Lockbox),
        "iam" => Some(EventSource::Iam),
        "resourcemanager" => Some(EventSource::ResourceManager),
        "operation" => Some(EventSource::Operation),
        // Discovery is not audited; the KMS keeps its own record.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_of_a_method_that_exists() {
        for (path, name) in EVENTS {
            let (service, method) = path.strip_prefix('/').unwrap().split_once('/').unwrap();
            let service = lockbox_proto::descriptor_pool().get_service_by_name(service).unwrap();
            assert!(service.methods().any(|known| known.name() == method), "{path}");
            assert_eq!(event(path).map(|details| details.event_name()), Some(name), "{path}");
        }
        assert!(event("/yandex.cloud.lockbox.v1.SecretService/Steal").is_none());
        assert!(event("/yandex.cloud.endpoint.ApiEndpointService/List").is_none());
    }
}

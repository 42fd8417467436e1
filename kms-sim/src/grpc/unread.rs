//! Calls whose message is none of their method, by gRPC and by REST: they reach no handler.
//!
//! Promises for them what handlers promise for the rest: who calls is looked at first, there is one
//! audit record, and the answer says what is wrong with the request (`contract §5.2`, `§14` no. 18).

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response};
use lockbox_core::ResourcePath;
use lockbox_platform::audit::AuditDetails;
use lockbox_platform::audit::details::RequestDetails;
use lockbox_platform::audit::record::EventSource;
use lockbox_platform::detach::detached;
use lockbox_platform::http_service::HttpService;
use lockbox_platform::request::RequestContext;
use lockbox_platform::status::ApiError;
use lockbox_platform::unhandled::{Undecoded, Unhandled};
use tonic::metadata::MetadataMap;

use super::Edge;
use super::audit_head;
use super::call::{Call, Event};
use super::events::BACKUP_EVENT;
use crate::authn::assertion::ASSERTION_METADATA;
use crate::keys::service::Answer;

/// The methods whose callers are operators.
const UNDELETE: &str = "/lockbox.kms.v1.KeyAdminService/UndeleteKey";
const BACK_UP: &str = "/lockbox.kms.v1.KeyAdminService/Backup";

/// The method that only nodes call in their own names.
const TELL_HEAD: &str = "/lockbox.kms.v1.AuditHeadService/TellAuditHead";

/// The methods whose calls leave a record only when they are refused, and none when they are done:
/// of the head of the audit, which a record would move, so that the cluster would have to ask again.
/// It is a number and a hash, which tell nothing of what is recorded; what retention removes behind
/// it has a record of its own.
pub(super) const RECORDED_IF_REFUSED: [&str; 1] = [TELL_HEAD];

/// The events of the methods that are served here, as their handlers name them.
const EVENTS: [(&str, EventSource, &str); 24] = [
    (TELL_HEAD, EventSource::Kms, audit_head::EVENT),
    ("/lockbox.kms.v1.KeyAccessService/CheckAttach", EventSource::Kms, "CheckSymmetricKeyAttach"),
    (BACK_UP, EventSource::Kms, BACKUP_EVENT),
    (UNDELETE, EventSource::Kms, "CancelDeleteSymmetricKey"),
    ("/yandex.cloud.kms.v1.SymmetricCryptoService/Decrypt", EventSource::Kms, "Decrypt"),
    ("/yandex.cloud.kms.v1.SymmetricCryptoService/Encrypt", EventSource::Kms, "Encrypt"),
    (
        "/yandex.cloud.kms.v1.SymmetricCryptoService/GenerateDataKey",
        EventSource::Kms,
        "GenerateDataKey",
    ),
    ("/yandex.cloud.kms.v1.SymmetricCryptoService/ReEncrypt", EventSource::Kms, "ReEncrypt"),
    (
        "/yandex.cloud.kms.v1.SymmetricKeyService/CancelVersionDestruction",
        EventSource::Kms,
        "CancelSymmetricKeyVersionDestruction",
    ),
    ("/yandex.cloud.kms.v1.SymmetricKeyService/Create", EventSource::Kms, "CreateSymmetricKey"),
    ("/yandex.cloud.kms.v1.SymmetricKeyService/Delete", EventSource::Kms, "DeleteSymmetricKey"),
    ("/yandex.cloud.kms.v1.SymmetricKeyService/Get", EventSource::Kms, "GetSymmetricKey"),
    ("/yandex.cloud.kms.v1.SymmetricKeyService/List", EventSource::Kms, "ListSymmetricKeys"),
    (
        "/yandex.cloud.kms.v1.SymmetricKeyService/ListAccessBindings",
        EventSource::Kms,
        "ListSymmetricKeyAccessBindings",
    ),
    (
        "/yandex.cloud.kms.v1.SymmetricKeyService/ListOperations",
        EventSource::Kms,
        "ListSymmetricKeyOperations",
    ),
    (
        "/yandex.cloud.kms.v1.SymmetricKeyService/ListVersions",
        EventSource::Kms,
        "ListSymmetricKeyVersions",
    ),
    ("/yandex.cloud.kms.v1.SymmetricKeyService/Rotate", EventSource::Kms, "RotateSymmetricKey"),
    (
        "/yandex.cloud.kms.v1.SymmetricKeyService/ScheduleVersionDestruction",
        EventSource::Kms,
        "ScheduleSymmetricKeyVersionDestruction",
    ),
    (
        "/yandex.cloud.kms.v1.SymmetricKeyService/SetAccessBindings",
        EventSource::Kms,
        "SetSymmetricKeyAccessBindings",
    ),
    (
        "/yandex.cloud.kms.v1.SymmetricKeyService/SetPrimaryVersion",
        EventSource::Kms,
        "SetPrimarySymmetricKeyVersion",
    ),
    ("/yandex.cloud.kms.v1.SymmetricKeyService/Update", EventSource::Kms, "UpdateSymmetricKey"),
    (
        "/yandex.cloud.kms.v1.SymmetricKeyService/UpdateAccessBindings",
        EventSource::Kms,
        "UpdateSymmetricKeyAccessBindings",
    ),
    ("/yandex.cloud.operation.OperationService/Cancel", EventSource::Operation, "CancelOperation"),
    ("/yandex.cloud.operation.OperationService/Get", EventSource::Operation, "GetOperation"),
];

/// The services, and a record of each call whose message they could not read. Inside the request
/// layer.
pub(crate) fn recorded(edge: Arc<Edge>, services: HttpService) -> HttpService {
    HttpService::new(move |request| {
        let context = request.extensions().get::<Arc<RequestContext>>().cloned();
        let undecoded = Undecoded::of(&request);
        let assertion = request.headers().get(ASSERTION_METADATA).cloned();
        let answered = services.answer(request);
        let edge = Arc::clone(&edge);
        Box::pin(async move {
            let response = answered.await;
            let Some(context) = context.filter(|context| !context.is_handled()) else {
                return response;
            };
            match Unhandled::of(response.headers(), &context.method, undecoded) {
                Some(Unhandled::Message(error)) => {
                    record(edge, context, assertion, error).await.unwrap_or(response)
                }
                Some(Unhandled::NoRoom(error) | Unhandled::Method(error)) => {
                    completed(&context.request_id, error)
                }
                None => response,
            }
        })
    })
}

/// The event of a method that is served here, of which nothing more is known.
pub(super) fn event(method: &str) -> Option<Event> {
    let (_, source, event_name) = *EVENTS.iter().find(|(path, _, _)| *path == method)?;
    let details = RequestDetails { source, event_name, ids: Default::default() };
    Some(Event { details: AuditDetails::Request(details), path: ResourcePath::default() })
}

fn completed(request_id: &str, error: ApiError) -> Response<Body> {
    error.into_status(request_id).into_http()
}

/// Records a call that could not be read; nothing for one that is no call of ours.
async fn record(
    edge: Arc<Edge>,
    context: Arc<RequestContext>,
    assertion: Option<HeaderValue>,
    error: ApiError,
) -> Option<Response<Body>> {
    let event = event(&context.method)?;
    let mut headers = HeaderMap::new();
    if let Some(assertion) = assertion {
        headers.insert(ASSERTION_METADATA, assertion);
    }
    let (request_id, method) = (context.request_id.clone(), context.method.clone());
    let is_for_operators = method == UNDELETE || method == BACK_UP;
    let calls = edge.calls.clone();
    let answered = detached(&calls, async move {
        let mut call = Call::of(&edge, context, &MetadataMap::from_headers(headers));
        let known = if is_for_operators {
            call.recognise_operator(&edge)
        } else {
            call.recognise(&edge).await
        };
        let unknown = known.err();
        let error = unknown.unwrap_or(error);
        call.finish(&edge, event, Err::<Answer<()>, _>(error)).await
    });
    let recorded = answered.await.err()?.into_http();
    Some(match Unhandled::of(recorded.headers(), &method, None) {
        // There was none for the recording either.
        Some(Unhandled::NoRoom(error)) => completed(&request_id, error),
        Some(Unhandled::Message(_) | Unhandled::Method(_)) | None => recorded,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_that_is_served_has_its_event() {
        let pool = lockbox_proto::descriptor_pool();
        let mut methods = Vec::new();
        for service in [
            "lockbox.kms.v1.AuditHeadService",
            "lockbox.kms.v1.KeyAccessService",
            "lockbox.kms.v1.KeyAdminService",
            "yandex.cloud.kms.v1.SymmetricCryptoService",
            "yandex.cloud.kms.v1.SymmetricKeyService",
            "yandex.cloud.operation.OperationService",
        ] {
            let served = pool.get_service_by_name(service).unwrap();
            methods.extend(served.methods().map(|m| format!("/{service}/{}", m.name())));
        }
        methods.sort();
        let mut named: Vec<_> = EVENTS.iter().map(|(path, _, _)| (*path).to_owned()).collect();
        named.sort();
        assert_eq!(named, methods);
        assert!(RECORDED_IF_REFUSED.iter().all(|path| methods.iter().any(|own| own == path)));
    }
}

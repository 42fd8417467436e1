//! Calls on the listener for peers whose message is none of their method: they reach no handler.
//!
//! As [`crate::unserved`] does on the public listener: who calls is looked at first, here by the
//! name of its certificate, there is one audit record, and the answer says what is wrong.

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
use lockbox_platform::unhandled::{ACCEPTED_ENCODINGS, Unhandled};

use crate::app::App;
use crate::call::{Call, detached};
use crate::peer_name::Peer;

/// Who may do what an operator does.
const OPERATORS: &[Peer] = &[Peer::Operator, Peer::Admin];

/// The methods, their events, and who may call them: as their handlers have it.
const METHODS: [(&str, &str, &[Peer]); 29] = [
    ("/lockbox.cluster.v1.AdminService/AddMember", "AddClusterMember", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/DropBackup", "DropBackup", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/KeyringStatus", "GetKeyringStatus", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/ListAuditHeads", "ListAuditHeads", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/ListBackups", "ListBackups", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/ListDestroyed", "ListDestroyed", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/MakeBackup", "MakeBackup", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/PromoteMember", "PromoteClusterMember", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/RaiseFeatureLevel", "RaiseFeatureLevel", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/ReadBackup", "ReadBackup", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/ReadLog", "ReadLog", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/ReadUsage", "ReadUsage", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/RemoveMember", "RemoveClusterMember", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/ReplaceMember", "ReplaceClusterMember", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/RotateKeyring", "RotateKeyring", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/Seal", "SealNode", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/StateHash", "GetStateHash", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/StoreBackup", "StoreBackup", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/TakeSnapshot", "TakeSnapshot", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/TransferLeader", "TransferClusterLeader", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/Unseal", "UnsealNode", OPERATORS),
    ("/lockbox.cluster.v1.AdminService/VerifyDestroyed", "VerifyDestroyed", OPERATORS),
    ("/lockbox.cluster.v1.ClusterService/Init", "InitCluster", &[Peer::Admin]),
    ("/lockbox.cluster.v1.ClusterService/RecoverAdmin", "RecoverAdministrator", &[Peer::Admin]),
    (
        "/lockbox.cluster.v1.ClusterService/Status",
        "GetClusterStatus",
        &[Peer::Admin, Peer::Operator, Peer::Node],
    ),
    ("/lockbox.cluster.v1.IntrospectionService/Introspect", "IntrospectToken", &[Peer::Kms]),
    ("/lockbox.cluster.v1.KmsWitnessService/Attest", "AttestKms", &[Peer::Kms]),
    ("/lockbox.cluster.v1.KmsWitnessService/ListTombstones", "ListKmsTombstones", &[Peer::Kms]),
    ("/lockbox.cluster.v1.KmsWitnessService/Recall", "RecallKms", &[Peer::Kms]),
];

/// The services, and a record of each call whose message they could not read. Inside the request
/// layer.
#[must_use]
pub fn recorded(app: Arc<App>, services: HttpService) -> HttpService {
    HttpService::new(move |request| {
        let context = request.extensions().get::<Arc<RequestContext>>().cloned();
        let answered = services.answer(request);
        let app = Arc::clone(&app);
        async move {
            let response = answered.await;
            let Some(context) = context.filter(|context| !context.is_handled()) else {
                return response;
            };
            match Unhandled::of(response.headers(), &context.method, None) {
                Some(Unhandled::Message(error)) => record(&app, context, error, response).await,
                Some(Unhandled::Method(_) | Unhandled::NoRoom(_)) | None => response,
            }
        }
        .boxed()
    })
}

/// Records a call that could not be read, and answers it.
async fn record(
    app: &Arc<App>,
    context: Arc<RequestContext>,
    unread: ApiError,
    response: Response<Body>,
) -> Response<Body> {
    let known = METHODS.iter().find(|(path, ..)| *path == context.method);
    let Some((_, event_name, callers)) = known.copied() else { return response };
    let source = EventSource::Cluster;
    let details = RequestDetails { source, event_name, ids: Default::default() };
    let (own, calls) = (Arc::clone(app), app.calls.always_admitted());
    let recorded = detached(&calls, async move {
        let mut call = Call::of(&own, context, AuditDetails::Request(details));
        let refused = call.admit_certificate(callers).err();
        call.finish(Err::<(), _>(refused.unwrap_or(unread))).await
    });
    // A call that ends with an error has no message; should it have one, the answer stands.
    let Err(status) = recorded.await else { return response };
    let mut answer = status.into_http();
    if let Some(accepted) = response.headers().get(ACCEPTED_ENCODINGS).cloned() {
        answer.headers_mut().insert(ACCEPTED_ENCODINGS, accepted);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::PEER_SERVICES;

    #[test]
    fn every_method_for_peers_has_its_event() {
        let mut methods = Vec::new();
        for service in PEER_SERVICES {
            let served = lockbox_proto::descriptor_pool().get_service_by_name(service).unwrap();
            methods.extend(served.methods().map(|m| format!("/{service}/{}", m.name())));
        }
        methods.sort();
        let mut named: Vec<_> = METHODS.iter().map(|(path, ..)| (*path).to_owned()).collect();
        named.sort();
        assert_eq!(named, methods);
    }
}

//! Every method of the listener for peers is on record, also for who may not call it and where its
//! message is none.

use std::collections::BTreeSet;

use lockbox::router::PEER_SERVICES;
use lockbox_proto::descriptor_pool;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};

use crate::fixture::Fresh;
use crate::peers::Peers;
use crate::raw::Raw;

/// The paths of all methods, by their definitions.
fn methods() -> Vec<String> {
    let mut paths = Vec::new();
    for service in PEER_SERVICES {
        let methods = descriptor_pool().get_service_by_name(service).unwrap();
        paths.extend(methods.methods().map(|method| format!("/{service}/{}", method.name())));
    }
    paths
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s18_every_method_for_peers_leaves_one_record() {
    let node = Fresh::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let audit = || std::fs::read_to_string(node.app.config.audit_path()).unwrap();
    let unreadable = || vec![0x0a, 0x7f];
    let methods = methods();
    assert!(methods.len() >= 21, "{methods:?}");
    for path in methods {
        let of_kms = ["IntrospectionService", "KmsWitnessService"];
        let is_of_kms = of_kms.iter().any(|service| path.contains(service));
        let caller = if is_of_kms { "kms" } else { "admin" };
        let mut events = BTreeSet::new();
        for (stem, message, expected) in [
            ("stranger", Vec::new(), Code::PermissionDenied),
            ("stranger", unreadable(), Code::PermissionDenied),
            (caller, unreadable(), Code::InvalidArgument),
        ] {
            let before = audit().lines().count();
            let mut client = tonic::client::Grpc::new(peers.channel(stem));
            client.ready().await.unwrap();
            let at: PathAndQuery = path.parse().unwrap();
            let answer: Result<tonic::Response<Vec<u8>>, _> =
                client.unary(Request::new(message), at, Raw).await;
            let status = answer.unwrap_err();
            assert_eq!(status.code(), expected, "{path}: {status:?}");
            let audit = audit();
            let written: Vec<&str> = audit.lines().skip(before).collect();
            let [line] = written.as_slice() else { panic!("{path}: {written:?}") };
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let name = format!("{stem}.lockbox.internal");
            assert_eq!(record["authentication"]["subject_id"], name.as_str(), "{record}");
            assert_eq!(record["authorization"]["authorized"], stem == caller, "{record}");
            assert_eq!(record["error"]["code"], i32::from(expected), "{record}");
            events.insert(record["event_type"].as_str().unwrap().to_owned());
        }
        assert_eq!(events.len(), 1, "{path}: {events:?}");
    }
    node.stop().await;
}

//! `docs/response-headers.md`: who answered, and what an answer allows to conclude, is said by
//! every answer, whatever became of the call.

use lockbox_proto::yandex::cloud::iam::v1::CreateIamTokenRequest;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::resourcemanager::v1::DeleteFolderRequest;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};

use crate::client::text;
use crate::fixture::Node;

/// What became of a call, with what its answer says.
fn answered<T>(result: Result<Response<T>, Status>) -> (Code, MetadataMap) {
    match result {
        Ok(response) => (Code::Ok, response.metadata().clone()),
        Err(status) => (status.code(), status.metadata().clone()),
    }
}

fn number(metadata: &MetadataMap, name: &str) -> Option<u64> {
    metadata.get(name).map(|value| value.to_str().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_says_who_gave_it_and_an_index_or_that_nothing_was_proposed() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let (mut secrets, mut payloads) = (node.secrets(), node.payloads());
    let get = |id: &str| wire::GetSecretRequest { secret_id: id.to_owned() };
    let payload =
        wire::GetPayloadRequest { secret_id: secret.id.clone(), version_id: String::new() };
    let delete = |id: &str| wire::DeleteSecretRequest { secret_id: id.to_owned() };
    let far_too_long = "x".repeat(60);

    let decided = [
        (Code::Ok, answered(secrets.get(node.request(get(&secret.id))).await)),
        (Code::Ok, answered(payloads.get(node.request(payload)).await)),
        (Code::NotFound, answered(secrets.get(node.request(get("e6qnowhere"))).await)),
        (Code::NotFound, answered(secrets.delete(node.request(delete("e6qnowhere"))).await)),
        (Code::Ok, answered(secrets.delete(node.request(delete(&secret.id))).await)),
    ];
    for (position, (expected, (code, metadata))) in decided.iter().enumerate() {
        assert_eq!(code, expected, "answer {position}");
        assert!(number(metadata, "lockbox-index").unwrap() > 0, "answer {position}");
        assert!(number(metadata, "lockbox-term").unwrap() > 0, "answer {position}");
        assert!(metadata.get("lockbox-outcome").is_none(), "answer {position}");
        assert_eq!(number(metadata, "lockbox-served-by"), Some(1), "answer {position}");
        assert!(metadata.get("lockbox-leader").is_some(), "answer {position}");
        assert!(metadata.get("x-request-id").is_some(), "answer {position}");
    }

    let unserved = DeleteFolderRequest { folder_id: "b1gone".into(), ..Default::default() };
    let login = CreateIamTokenRequest::default();
    let undecided = [
        (Code::InvalidArgument, answered(secrets.get(node.request(get(&far_too_long))).await)),
        (Code::Unauthenticated, answered(secrets.get(Request::new(get(&secret.id))).await)),
        (Code::Unimplemented, answered(node.folders().delete(node.request(unserved)).await)),
        (Code::InvalidArgument, answered(node.tokens().create(Request::new(login)).await)),
    ];
    for (position, (expected, (code, metadata))) in undecided.iter().enumerate() {
        assert_eq!(code, expected, "refusal {position}");
        assert_eq!(metadata.get("lockbox-outcome").unwrap(), "not-proposed", "refusal {position}");
        assert!(metadata.get("lockbox-index").is_none(), "refusal {position}");
        assert_eq!(number(metadata, "lockbox-served-by"), Some(1), "refusal {position}");
    }
    node.stop().await;
}

/// Checkers put the effect where the answer says that it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_has_the_place_in_the_log_of_the_first_one() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let mut secrets = node.secrets();
    let add = wire::AddVersionRequest {
        secret_id: secret.id.clone(),
        payload_entries: vec![text("k", "w")],
        ..Default::default()
    };
    let deactivate = wire::DeactivateSecretRequest { secret_id: secret.id.clone() };
    let mut places = Vec::new();
    for _ in 0..2 {
        let added = secrets.add_version(node.keyed("one version", add.clone())).await;
        let deactivated = secrets.deactivate(node.keyed("off", deactivate.clone())).await;
        let pair = [answered(added), answered(deactivated)];
        places.push(pair.map(|(code, metadata)| {
            assert_eq!(code, Code::Ok);
            (number(&metadata, "lockbox-index"), number(&metadata, "lockbox-term"))
        }));
        // The state goes on between the first and the repeat.
        node.create(vec![text("k", "v")], "").await;
    }
    assert_eq!(places[0], places[1]);
    assert!(places[0][0].0 < places[0][1].0);
    node.stop().await;
}

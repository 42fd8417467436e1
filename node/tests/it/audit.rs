//! What the audit says of calls that a view refuses.

use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use tonic::Code;

use crate::client::text;
use crate::fixture::Node;

/// Path, authorization and the caller's name are known before the refusal, so they are recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_read_says_where_and_whether_it_was_allowed() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let off = wire::DeactivateSecretRequest { secret_id: secret.id.clone() };
    node.secrets().deactivate(node.request(off)).await.unwrap();
    assert_eq!(node.read(&secret.id, "").await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(node.read("e6qnowhere", "").await.unwrap_err().code(), Code::NotFound);
    let audit = node.audit();
    let reads: Vec<&str> = audit.lines().filter(|line| line.contains("GetPayload")).collect();
    let [inactive, missing] = reads.as_slice() else { panic!("{reads:?}") };
    let leaf = format!("\"resource_type\":\"lockbox.secret\",\"resource_id\":\"{}\"", secret.id);
    assert!(inactive.contains(&leaf), "{inactive}");
    assert!(inactive.contains("\"authorized\":true"), "{inactive}");
    assert!(missing.contains("\"path\":[]"), "{missing}");
    assert!(missing.contains("\"authorized\":false"), "{missing}");
    for line in reads {
        assert!(line.contains("\"subject_name\":\"admin\""), "{line}");
    }
    node.stop().await;
}

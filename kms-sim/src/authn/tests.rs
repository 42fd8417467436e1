//! Who is believed, by certificate, assertion and token.

use std::time::Duration;

use async_trait::async_trait;
use lockbox_core::{Subject, SubjectKind};
use lockbox_platform::system::SystemClock;
use lockbox_proto::lockbox::kms::v1::CallerAssertion;
use prost::Message;

use super::*;
use crate::caller::Rights;

/// Knows one token; a second one finds the cluster down. For tests only.
struct FakeIntrospector;

#[async_trait]
impl Introspector for FakeIntrospector {
    async fn introspect(
        &self,
        token: &SensitiveString,
        _deadline: Instant,
    ) -> Result<Option<Introspected>, ClusterUnavailable> {
        match token.expose().as_str() {
            "good" => Ok(Some(Introspected {
                subject: Subject { kind: SubjectKind::ServiceAccount, id: "sa".to_owned() },
                subject_name: "name".to_owned(),
                token_id: "id".to_owned(),
                borrowed: false,
                rights: Rights::default(),
            })),
            "down" => Err(ClusterUnavailable),
            _ => Ok(None),
        }
    }
}

struct Call {
    names: Vec<String>,
    assertion: Option<Vec<u8>>,
    token: Option<SensitiveString>,
}

impl Call {
    fn new(name: Option<&str>, asserts: bool, token: Option<&str>) -> Self {
        let now = SystemClock::new().wall_ms();
        let assertion = CallerAssertion {
            subject_type: "userAccount".to_owned(),
            subject_id: "user".to_owned(),
            issued_at_ms: now,
            expires_at_ms: now + 5_000,
            ..CallerAssertion::default()
        };
        Self {
            names: name.map(str::to_owned).into_iter().collect(),
            assertion: asserts.then(|| assertion.encode_to_vec()),
            token: token.map(|token| SensitiveString::new(token.to_owned())),
        }
    }

    async fn result(&self) -> Result<Caller, AuthnError> {
        let nodes = vec![NodeName::parse("node-*.lockbox.internal").unwrap()];
        let introspector: Arc<dyn Introspector> = Arc::new(FakeIntrospector);
        let authenticator = Authenticator::new(
            nodes,
            Policy::default(),
            Some(introspector),
            Arc::new(SystemClock::new()),
        );
        let credentials = Credentials {
            certificate_names: &self.names,
            assertion: self.assertion.as_deref(),
            token: self.token.as_ref(),
            deadline: Instant::now() + Duration::from_secs(5),
        };
        Ok(authenticator.authenticate(credentials).await?.caller)
    }
}

const NODE: Option<&str> = Some("node-1.lockbox.internal");
const OTHER: Option<&str> = Some("kms.lockbox.internal");

#[tokio::test]
async fn a_node_speaks_for_whom_it_asserts_and_else_for_itself() {
    let asserted = Call::new(NODE, true, Some("whatever")).result().await.unwrap();
    assert_eq!(asserted.subject.id, "user");
    assert_eq!(asserted.node_name(), NODE);
    let own = Call::new(NODE, false, None).result().await.unwrap();
    assert_eq!(own, Caller::node("node-1.lockbox.internal"));
}

#[tokio::test]
async fn an_assertion_from_anyone_else_is_refused() {
    for name in [None, OTHER] {
        let refused = Call::new(name, true, Some("good")).result().await;
        assert_eq!(refused, Err(AuthnError::NotANode));
    }
}

#[tokio::test]
async fn a_token_is_asked_for_at_the_cluster_each_time() {
    for name in [None, NODE, OTHER] {
        let caller = Call::new(name, false, Some("good")).result().await.unwrap();
        assert_eq!((caller.subject.id.as_str(), caller.via), ("sa", Via::Token));
        let refused = Call::new(name, false, Some("bad")).result().await;
        assert_eq!(refused, Err(AuthnError::InvalidToken));
    }
    let unavailable = Call::new(None, false, Some("down")).result().await;
    assert_eq!(unavailable, Err(AuthnError::Unavailable(ClusterUnavailable)));
}

#[tokio::test]
async fn nothing_at_all_is_refused() {
    assert_eq!(Call::new(None, false, None).result().await, Err(AuthnError::Missing));
    assert_eq!(Call::new(OTHER, false, None).result().await, Err(AuthnError::Missing));
}

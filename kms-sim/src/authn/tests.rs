//! Who is believed, by certificate, assertion and token.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lockbox_core::{ClusterId, LogTime, Subject, SubjectKind, TokenId};
use lockbox_platform::system::{SystemClock, SystemRandom};
use lockbox_platform::token::{TokenClaims, TokenSigner, generate_seed};
use lockbox_proto::lockbox::kms::v1::CallerAssertion;
use prost::Message;

use super::*;
use crate::caller::Rights;

/// Tokens that have their form and nothing else: nobody looks at who has signed them.
fn token() -> String {
    let signer = TokenSigner::from_seed(1, &generate_seed(&SystemRandom)).unwrap();
    let claims = TokenClaims {
        token_id: TokenId::generate(&SystemRandom),
        subject: Subject { kind: SubjectKind::ServiceAccount, id: "sa".to_owned() },
        credential_id: None,
        issued_at: LogTime::from_ms(1),
        expires_at: LogTime::from_ms(2),
        cluster_id: ClusterId::generate(&SystemRandom),
        maker: None,
    };
    signer.sign(&claims).unwrap().expose().clone()
}

static GOOD: LazyLock<String> = LazyLock::new(token);
static DOWN: LazyLock<String> = LazyLock::new(token);
static BAD: LazyLock<String> = LazyLock::new(token);

/// Knows one token; a second one finds the cluster down. For tests only.
#[derive(Default)]
struct FakeIntrospector {
    under_way: AtomicUsize,
    most: AtomicUsize,
    asked: AtomicUsize,
}

#[async_trait]
impl Introspector for FakeIntrospector {
    async fn introspect(
        &self,
        token: &SensitiveString,
        _deadline: Instant,
    ) -> Result<Option<Introspected>, ClusterUnavailable> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let under_way = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(under_way, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        let token = token.expose();
        if *token == *DOWN {
            return Err(ClusterUnavailable);
        }
        Ok((*token == *GOOD).then(|| Introspected {
            subject: Subject { kind: SubjectKind::ServiceAccount, id: "sa".to_owned() },
            subject_name: "name".to_owned(),
            token_id: "id".to_owned(),
            borrowed: false,
            rights: Rights::default(),
        }))
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
        self.at(&authenticator(Arc::default())).await
    }

    async fn at(&self, authenticator: &Authenticator) -> Result<Caller, AuthnError> {
        let credentials = Credentials {
            certificate_names: &self.names,
            assertion: self.assertion.as_deref(),
            token: self.token.as_ref(),
            address: None,
            deadline: Instant::now() + Duration::from_secs(5),
        };
        Ok(authenticator.authenticate(credentials).await?.caller)
    }
}

fn authenticator(introspector: Arc<FakeIntrospector>) -> Authenticator {
    let nodes = vec![NodeName::parse("node-*.lockbox.internal").unwrap()];
    let clock = Arc::new(SystemClock::new());
    Authenticator::new(nodes, Policy::default(), Some(introspector), clock)
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
        let refused = Call::new(name, true, Some(&GOOD)).result().await;
        assert_eq!(refused, Err(AuthnError::NotANode));
    }
}

#[tokio::test]
async fn a_token_is_asked_for_at_the_cluster_each_time() {
    for name in [None, NODE, OTHER] {
        let caller = Call::new(name, false, Some(&GOOD)).result().await.unwrap();
        assert_eq!((caller.subject.id.as_str(), caller.via), ("sa", Via::Token));
        let refused = Call::new(name, false, Some(&BAD)).result().await;
        assert_eq!(refused, Err(AuthnError::InvalidToken));
    }
    let unavailable = Call::new(None, false, Some(&DOWN)).result().await;
    assert_eq!(unavailable, Err(AuthnError::Unavailable(ClusterUnavailable)));
}

/// What cannot be a token is refused here; the rest is asked about, so many at one time.
#[tokio::test(start_paused = true)]
async fn strangers_do_not_keep_the_cluster_busy() {
    let introspector = Arc::new(FakeIntrospector::default());
    let authenticator = authenticator(Arc::clone(&introspector));
    for malformed in ["", "whatever", "t1.x.y", "t1..", &GOOD[..GOOD.len() - 1], &"t1.".repeat(9)] {
        let refused = Call::new(None, false, Some(malformed)).at(&authenticator).await;
        assert_eq!(refused, Err(AuthnError::InvalidToken), "{malformed}");
    }
    assert_eq!(introspector.asked.load(Ordering::Relaxed), 0, "the cluster was asked");

    const CALLS: usize = 1000;
    let unknown = Call::new(None, false, Some(&BAD));
    let refused = futures::future::join_all((0..CALLS).map(|_| unknown.at(&authenticator))).await;
    let count = |error| refused.iter().filter(|result| **result == Err(error)).count();
    let asked = introspector.asked.load(Ordering::Relaxed);
    assert_eq!(count(AuthnError::InvalidToken), asked);
    assert_eq!(count(AuthnError::Crowded(Crowded)), CALLS - asked);
    assert_eq!(introspector.most.load(Ordering::Relaxed), asking::IN_FLIGHT_MAX / 2);
    assert_eq!(asked, (asking::IN_FLIGHT_MAX + asking::WAITING_MAX) / asking::ADDRESS_SHARE);
    Call::new(None, false, Some(&GOOD)).at(&authenticator).await.unwrap();
}

#[tokio::test]
async fn nothing_at_all_is_refused() {
    assert_eq!(Call::new(None, false, None).result().await, Err(AuthnError::Missing));
    assert_eq!(Call::new(OTHER, false, None).result().await, Err(AuthnError::Missing));
}

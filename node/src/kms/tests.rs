//! The client against a KMS that is silent, and what refusals become.

use std::sync::atomic::{AtomicU32, Ordering};

use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::status::ErrorKind;
use lockbox_platform::system::SystemRandom;
use lockbox_platform::tls::endpoint;

use super::breaker::{FAILURES_MAX, PAUSE_MAX, PAUSE_MIN, State};
use super::refusal::{RETRY_AFTER, Step, refused, was_answered};
use super::*;

/// Who asks a KMS that takes connections and says nothing on them.
fn silent() -> KmsClient {
    let never = tower::service_fn(|_| std::future::pending::<Result<Dead, std::io::Error>>());
    // The wait for a connection ends after the callers' deadlines, as theirs are looked at here.
    let endpoint = endpoint("localhost:1", None).unwrap().connect_timeout(100 * PAUSE_MAX);
    let connect = move || endpoint.connect_with_connector_lazy(never);
    KmsClient::new(connect, Arc::new(SystemRandom))
}

/// What the KMS has answered stays in a connection's buffers; whoever is to forget it needs another.
#[tokio::test]
async fn a_renewed_connection_is_another_one() {
    let (made, endpoint) = (Arc::new(AtomicU32::new(0)), endpoint("localhost:1", None).unwrap());
    let count = Arc::clone(&made);
    let connect = move || {
        let count = Arc::clone(&count);
        endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<Result<Dead, std::io::Error>>()
        }))
    };
    let kms = KmsClient::new(connect, Arc::new(SystemRandom));
    let key = KmsKeyId::parse("abjkey").unwrap();
    let ask = async |kms: &KmsClient| {
        let (caller, deadline) =
            (CallerAssertion::default(), Instant::now() + Duration::from_millis(20));
        let opened = kms.decrypt_data_key(&key, &caller, vec![], vec![], deadline);
        assert_eq!(opened.await.err().unwrap().code(), Code::Unavailable);
        made.load(Ordering::Relaxed)
    };
    // The one that is being made is waited for again.
    assert_eq!([ask(&kms).await, ask(&kms).await], [1, 1]);
    kms.clone().renew_connection();
    assert_eq!(ask(&kms).await, 2, "clones share it");
}

/// As a KMS is that takes connections and says nothing on them. tonic's own deadline does not
/// run before there is a connection.
#[tokio::test]
async fn no_call_waits_for_a_connection_past_its_deadline() {
    let kms = silent();
    let deadline = || Instant::now() + Duration::from_millis(20);
    let (key, caller) = (KmsKeyId::parse("abjkey").unwrap(), CallerAssertion::default());

    let unavailable = |error: ApiError| {
        assert_eq!(error.message(), "the KMS did not answer in time");
        let ErrorKind::Unavailable { retry_after: Some(retry_after) } = error.kind() else {
            panic!("{error:?}")
        };
        let bounds = RETRY_AFTER * 3 / 4..=RETRY_AFTER * 5 / 4;
        assert!(bounds.contains(retry_after), "{retry_after:?}");
    };
    let origin = KeyOrigin::Secret;
    unavailable(kms.check_attach(&key, &caller, deadline()).await.unwrap_err());
    let made = kms.generate_data_key(&key, origin, &caller, vec![], deadline()).await;
    unavailable(made.err().unwrap());
    let opened = kms.decrypt_data_key(&key, &caller, vec![], vec![], deadline()).await;
    unavailable(opened.err().unwrap());

    let late = |status: Status| assert_eq!(status.code(), Code::DeadlineExceeded);
    let plaintext = Sensitive::new(vec![1]);
    late(kms.system_encrypt("abjkey", vec![], &plaintext, deadline()).await.unwrap_err());
    late(kms.system_decrypt("abjkey", vec![], vec![], deadline()).await.err().unwrap());
    assert_eq!(kms.breaker.state(), State::Closed, "hurried callers say nothing of the KMS");
}

/// `design §6`: own-key secrets fail fast while the KMS is away, and say when to come back.
#[tokio::test(start_paused = true)]
async fn a_kms_that_stays_silent_is_not_waited_for_again_and_again() {
    let kms = silent();
    let (key, caller) = (KmsKeyId::parse("abjkey").unwrap(), CallerAssertion::default());
    let patient = || Instant::now() + 2 * PATIENCE;
    let open = || kms.decrypt_data_key(&key, &caller, vec![], vec![], patient());
    for _ in 0..FAILURES_MAX {
        let waited = open().await.err().unwrap();
        assert_eq!(waited.message(), "the KMS did not answer in time");
    }
    let begun = Instant::now();
    let refused = open().await.err().unwrap();
    assert_eq!(Instant::now(), begun, "nobody waits");
    assert_eq!(refused.code(), Code::Unavailable);
    let ErrorKind::Unavailable { retry_after: Some(retry_after) } = refused.kind() else {
        panic!("{refused:?}")
    };
    assert!(*retry_after <= PAUSE_MIN + PAUSE_MIN / 2, "{retry_after:?}");
    let system = kms.system_decrypt("abjkey", vec![], vec![], patient()).await.err().unwrap();
    assert_eq!(system.code(), Code::Unavailable);

    let metrics = Metrics::new(Prefix::Lockbox).unwrap();
    metrics.collector(Box::new(KmsCollector::new(kms.clone()).unwrap())).unwrap();
    let told = metrics.text();
    for line in [
        "lockbox_kms_breaker_state{state=\"open\"} 1",
        "lockbox_kms_breaker_state{state=\"closed\"} 0",
        "lockbox_kms_breaker_opens_total 1",
        "lockbox_kms_calls_not_sent_total 2",
    ] {
        assert!(told.lines().any(|found| found == line), "{line}: {told}");
    }

    // One call after each pause finds out, and waits; the next one does not.
    tokio::time::advance(PAUSE_MAX).await;
    let begun = Instant::now();
    open().await.err().unwrap();
    assert!(begun.elapsed() >= PATIENCE);
    let begun = Instant::now();
    open().await.err().unwrap();
    assert_eq!(Instant::now(), begun);
    // The end of the node is not held up either.
    kms.hang_up();
    assert_eq!(open().await.err().unwrap().code(), Code::Unavailable);
}

#[test]
fn refusals_are_answers_and_silence_is_none() {
    let long = PATIENCE;
    let told = |code: Code| was_answered(Some(&Status::new(code, "")), long);
    assert_eq!(was_answered(None, Duration::ZERO), Some(true));
    for code in [
        Code::InvalidArgument,
        Code::NotFound,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Unauthenticated,
        Code::Internal,
        Code::DataLoss,
        Code::Unimplemented,
    ] {
        assert_eq!(told(code), Some(true), "{code:?}");
    }
    assert_eq!(told(Code::Unavailable), Some(false));
    assert_eq!(told(Code::DeadlineExceeded), Some(false));
    let hurried = was_answered(Some(&Status::deadline_exceeded("")), PATIENCE / 2);
    assert_eq!(hurried, None);
    let mut decided = Status::unavailable("of this key");
    decided.metadata_mut().insert(headers::KMS_INDEX, "7".parse().unwrap());
    assert_eq!(was_answered(Some(&decided), long), Some(true));
    let broken = std::io::Error::other("connection reset");
    let broken = Status::from_error(Box::new(broken));
    assert_eq!(was_answered(Some(&broken), long), Some(false));
}

type Dead = hyper_util::rt::TokioIo<tokio::io::DuplexStream>;

fn mapped(code: Code, step: Step) -> Code {
    let mut status = Status::new(code, "as the KMS says");
    status.metadata_mut().insert(headers::KMS_INDEX, "7".parse().unwrap());
    let key = KmsKeyId::parse("abjkey").unwrap();
    let answer = refused(&status, &key, step, RETRY_AFTER).into_status("r");
    assert_eq!(answer.metadata().get(headers::KMS_INDEX).unwrap(), "7", "{code:?}");
    assert!(answer.metadata().get(headers::OUTCOME).is_some(), "{code:?}");
    answer.code()
}

#[test]
fn refusals_of_the_kms_are_told_by_what_was_asked() {
    let (create, add) = (Step::Make(KeyOrigin::Request), Step::Make(KeyOrigin::Secret));
    for (code, step, expected) in [
        (Code::NotFound, create, Code::FailedPrecondition),
        (Code::NotFound, Step::Open, Code::FailedPrecondition),
        (Code::FailedPrecondition, add, Code::FailedPrecondition),
        (Code::PermissionDenied, Step::Open, Code::PermissionDenied),
        (Code::InvalidArgument, create, Code::InvalidArgument),
        (Code::InvalidArgument, add, Code::FailedPrecondition),
        (Code::InvalidArgument, Step::Open, Code::DataLoss),
        (Code::DataLoss, Step::Open, Code::DataLoss),
        (Code::Unauthenticated, Step::Open, Code::Unavailable),
        (Code::ResourceExhausted, add, Code::Unavailable),
        (Code::DeadlineExceeded, Step::Open, Code::Unavailable),
        (Code::Unavailable, Step::Open, Code::Unavailable),
    ] {
        assert_eq!(mapped(code, step), expected, "{code:?} {step:?}");
    }
}

/// `contract §13` no. 19: the key is a field of the request, and a fault in it is one there.
#[test]
fn a_key_that_the_request_names_is_named_in_its_refusal() {
    let key = KmsKeyId::parse("abjkey").unwrap();
    let refusal = |step| refused(&Status::not_found("no key"), &key, step, RETRY_AFTER);
    let told = |step| refusal(step).message().to_owned();
    assert_eq!(told(Step::Make(KeyOrigin::Request)), "kms_key_id: the key does not exist");
    assert_eq!(told(Step::Open), "the secret's key is unusable");
}

#[test]
fn what_may_be_tried_again_says_when() {
    let key = KmsKeyId::parse("abjkey").unwrap();
    for code in [Code::ResourceExhausted, Code::Unauthenticated, Code::DeadlineExceeded] {
        let error = refused(&Status::new(code, ""), &key, Step::Open, RETRY_AFTER);
        assert_eq!(*error.kind(), ErrorKind::Unavailable { retry_after: Some(RETRY_AFTER) });
    }
}

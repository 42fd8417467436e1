//! The client against a KMS that is silent, and what refusals become.

use lockbox_platform::status::ErrorKind;
use lockbox_platform::tls::endpoint;

use super::refusal::{RETRY_AFTER, Step, refused};
use super::*;

/// As a KMS is that takes connections and says nothing on them. tonic's own deadline does not
/// run before there is a connection.
#[tokio::test]
async fn no_call_waits_for_a_connection_past_its_deadline() {
    let never = tower::service_fn(|_| std::future::pending::<Result<Dead, std::io::Error>>());
    let channel = endpoint("localhost:1", None).unwrap().connect_with_connector_lazy(never);
    let kms = KmsClient::new(channel);
    let deadline = || Instant::now() + Duration::from_millis(20);
    let (key, caller) = (KmsKeyId::parse("abjkey").unwrap(), CallerAssertion::default());

    let unavailable = |error: ApiError| {
        assert_eq!(error.message(), "the KMS did not answer in time");
        assert_eq!(*error.kind(), ErrorKind::Unavailable { retry_after: Some(RETRY_AFTER) });
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
}

type Dead = hyper_util::rt::TokioIo<tokio::io::DuplexStream>;

fn mapped(code: Code, step: Step) -> Code {
    let mut status = Status::new(code, "as the KMS says");
    status.metadata_mut().insert(headers::KMS_INDEX, "7".parse().unwrap());
    let key = KmsKeyId::parse("abjkey").unwrap();
    let answer = refused(&status, &key, step).into_status("r");
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
    let told = |step| refused(&Status::not_found("no key"), &key, step).message().to_owned();
    assert_eq!(told(Step::Make(KeyOrigin::Request)), "kms_key_id: the key does not exist");
    assert_eq!(told(Step::Open), "the secret's key is unusable");
}

#[test]
fn what_may_be_tried_again_says_when() {
    let key = KmsKeyId::parse("abjkey").unwrap();
    for code in [Code::ResourceExhausted, Code::Unauthenticated, Code::DeadlineExceeded] {
        let error = refused(&Status::new(code, ""), &key, Step::Open);
        assert_eq!(*error.kind(), ErrorKind::Unavailable { retry_after: Some(RETRY_AFTER) });
    }
}

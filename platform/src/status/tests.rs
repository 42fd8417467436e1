//! The table of statuses: code, HTTP status, details and headers of every kind.

use lockbox_proto::google::rpc;

use super::*;

/// Kind, outcome, gRPC code, HTTP status, types of the details before `RequestInfo`.
type Row = (ErrorKind, Outcome, Code, u16, &'static [&'static str]);

fn condition() -> Precondition {
    Precondition {
        kind: "SECRET_INACTIVE",
        subject: "e6q1".to_owned(),
        description: "x".to_owned(),
    }
}

fn table() -> Vec<Row> {
    let second = Duration::from_secs(1);
    let violation = FieldViolation { field: "name".to_owned(), description: "long".to_owned() };
    let (resource_type, id) = ("lockbox.secret", "e6q1".to_owned());
    let quota = Exhausted::Quota { subject: "cloud".to_owned(), description: "full".to_owned() };
    let decided = Outcome::DecidedAt { index: 42, term: 3 };
    vec![
        (
            ErrorKind::InvalidArgument(vec![violation]),
            Outcome::NotProposed,
            Code::InvalidArgument,
            400,
            &["BadRequest"],
        ),
        (
            ErrorKind::InvalidArgument(Vec::new()),
            Outcome::NotProposed,
            Code::InvalidArgument,
            400,
            &[],
        ),
        (ErrorKind::Unauthenticated, Outcome::NotProposed, Code::Unauthenticated, 401, &[]),
        (ErrorKind::PermissionDenied, decided, Code::PermissionDenied, 403, &[]),
        (
            ErrorKind::NotFound { resource_type, id: id.clone() },
            decided,
            Code::NotFound,
            404,
            &["ResourceInfo"],
        ),
        (
            ErrorKind::AlreadyExists { resource_type, id },
            decided,
            Code::AlreadyExists,
            409,
            &["ResourceInfo"],
        ),
        (
            ErrorKind::FailedPrecondition(condition()),
            decided,
            Code::FailedPrecondition,
            400,
            &["PreconditionFailure"],
        ),
        (
            ErrorKind::Aborted { precondition: Some(condition()), retry_after: None },
            decided,
            Code::Aborted,
            409,
            &["PreconditionFailure"],
        ),
        (
            ErrorKind::Aborted { precondition: None, retry_after: Some(second) },
            decided,
            Code::Aborted,
            409,
            &["RetryInfo"],
        ),
        (
            ErrorKind::ResourceExhausted(quota),
            decided,
            Code::ResourceExhausted,
            429,
            &["QuotaFailure"],
        ),
        (
            ErrorKind::ResourceExhausted(Exhausted::Busy { retry_after: second }),
            Outcome::NotProposed,
            Code::ResourceExhausted,
            429,
            &["RetryInfo"],
        ),
        (
            ErrorKind::Unavailable { retry_after: Some(second) },
            Outcome::NotProposed,
            Code::Unavailable,
            503,
            &["RetryInfo"],
        ),
        (
            ErrorKind::Unavailable { retry_after: None },
            Outcome::Unknown,
            Code::Unavailable,
            503,
            &[],
        ),
        (ErrorKind::DeadlineExceeded, Outcome::Unknown, Code::DeadlineExceeded, 504, &[]),
        (ErrorKind::Unimplemented, Outcome::NotProposed, Code::Unimplemented, 501, &[]),
        (ErrorKind::Internal, Outcome::Unknown, Code::Internal, 500, &[]),
        (ErrorKind::DataLoss, decided, Code::DataLoss, 500, &[]),
        (ErrorKind::Cancelled, Outcome::Unknown, Code::Cancelled, 499, &[]),
    ]
}

#[test]
fn every_kind_has_its_code_details_and_headers() {
    for (kind, outcome, code, http, details) in table() {
        let name = format!("{kind:?}");
        let status = ApiError::new(kind, "message", outcome).into_status("request-1");
        assert_eq!(status.code(), code, "{name}");
        assert_eq!(http_status(code).as_u16(), http, "{name}");

        let decoded = rpc::Status::decode(status.details()).expect("a google.rpc.Status");
        assert_eq!(decoded.code, i32::from(code), "{name}");
        assert_eq!(decoded.message, "message", "{name}");
        let types: Vec<_> = decoded.details.iter().map(|any| any.type_url.as_str()).collect();
        let expected: Vec<_> = details
            .iter()
            .chain(&["RequestInfo"])
            .map(|name| format!("type.googleapis.com/google.rpc.{name}"))
            .collect();
        assert_eq!(types, expected, "{name}");

        let header = |name| status.metadata().get(name).and_then(|value| value.to_str().ok());
        assert_eq!(header("x-request-id"), Some("request-1"), "{name}");
        let expected_headers = match outcome {
            Outcome::NotProposed => (Some("not-proposed"), None, None),
            Outcome::DecidedAt { .. } => (None, Some("42"), Some("3")),
            Outcome::Unknown => (None, None, None),
        };
        let headers = (header("lockbox-outcome"), header("lockbox-index"), header("lockbox-term"));
        assert_eq!(headers, expected_headers, "{name}");
    }
}

#[test]
fn one_violation_is_the_message_and_extra_headers_travel() {
    let status = ApiError::invalid("secret_id", "is required")
        .with_header(headers::LEADER, "2")
        .with_header(headers::SERVED_BY, "not a\nheader")
        .into_status("request-1");
    assert_eq!(status.message(), "secret_id: is required");
    assert_eq!(status.metadata().get("lockbox-leader").map(|v| v.as_bytes()), Some(&b"2"[..]));
    assert!(status.metadata().get("lockbox-served-by").is_none());
}

#[test]
fn codes_without_a_kind_have_an_http_status_too() {
    assert_eq!(http_status(Code::Ok).as_u16(), 200);
    assert_eq!(http_status(Code::Unknown).as_u16(), 500);
    assert_eq!(http_status(Code::OutOfRange).as_u16(), 400);
}

/// `docs/reference/errors.md` has the same codes, statuses and details.
#[test]
fn the_documentation_agrees() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/errors.md");
    let text = std::fs::read_to_string(path).unwrap();
    for (kind, _, code, http, details) in table() {
        let name = crate::request_layer::code_name(code);
        let begin = format!("| `{name}` | {http} |");
        let row = text.lines().find(|line| line.starts_with(&begin));
        let row = row.unwrap_or_else(|| panic!("missing: {begin}"));
        for detail in details {
            assert!(row.contains(&format!("`{detail}`")), "{detail} of {kind:?}: {row}");
        }
    }
}

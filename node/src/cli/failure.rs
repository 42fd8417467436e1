//! A command that failed: what to exit with, and one sentence.
//!
//! Owns how a gRPC error reads: code, message, every detail, request id (`contract §5`). Text of
//! the server is shown with control characters escaped: it stays one line and moves no cursor.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::process::ExitCode;

use lockbox_platform::headers;
use lockbox_platform::request_layer::code_name;
use lockbox_proto::google::rpc::{
    self, BadRequest, PreconditionFailure, QuotaFailure, RequestInfo,
};
use prost::Message;
use tonic::{Code, Status, TimeoutExpired};

/// What a failed client command exits with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The server answered, and refused.
    Refused,
    /// The command line, the environment or a file it names is wrong.
    Usage,
    /// The server is out of reach, has no leader, or took too long.
    Unreachable,
    /// Something that cannot be has happened here.
    Internal,
    /// A server ended, for the reason that its code names.
    Server(lockbox_platform::exit::ExitCode),
}

impl Exit {
    /// The number given to the operating system.
    pub(crate) const fn code(self) -> u8 {
        use lockbox_platform::exit::ExitCode as Of;
        match self {
            Self::Refused => Of::Refused.code(),
            Self::Usage => Of::Usage.code(),
            Self::Unreachable => Of::Unreachable.code(),
            Self::Internal => Of::Internal.code(),
            Self::Server(code) => code.code(),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// By what a server was told who calls: what to try after a refusal depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// A token.
    Token,
    /// A certificate, or what a login takes in place of a token.
    NoToken,
}

/// A command that failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    exit: Exit,
    sentence: String,
}

impl Failure {
    /// A failure with this sentence.
    pub(crate) fn new(exit: Exit, sentence: impl fmt::Display) -> Self {
        Self { exit, sentence: one_line(&sentence.to_string()) }
    }

    /// The caller's mistake.
    pub(crate) fn usage(sentence: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, sentence)
    }

    /// A server cannot start, or had to end.
    pub(crate) fn server(
        code: lockbox_platform::exit::ExitCode,
        reason: impl fmt::Display,
    ) -> Self {
        Self::new(Exit::Server(code), reason)
    }

    /// The server did not answer in time.
    pub(crate) fn timeout(address: &str) -> Self {
        Self::new(Exit::Unreachable, format_args!("{address} did not answer in time"))
    }

    /// The server cannot be reached, for the innermost reason.
    pub(crate) fn unreachable(address: &str, error: &(dyn Error + 'static)) -> Self {
        let cause = causes(error).last().map(ToString::to_string).unwrap_or_default();
        let hint = causes(error).find_map(hint_for_connection).unwrap_or_default();
        Self::new(Exit::Unreachable, format_args!("cannot reach {address}: {cause}{hint}"))
    }

    /// A call that failed.
    pub(crate) fn call(address: &str, status: &Status, shown: Shown) -> Self {
        match status.source() {
            // A status with a source was made here: no server has said anything.
            Some(source) if causes(source).any(|cause| cause.is::<TimeoutExpired>()) => {
                Self::timeout(address)
            }
            Some(source) => Self::unreachable(address, source),
            None => {
                let out_of_reach =
                    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded);
                let exit = if out_of_reach { Exit::Unreachable } else { Exit::Refused };
                Self::new(exit, sentence(status, shown))
            }
        }
    }

    /// An operation that ended in an error.
    pub(crate) fn operation(address: &str, error: &rpc::Status) -> Self {
        let details = error.encode_to_vec().into();
        let status = Status::with_details(error.code.into(), &error.message, details);
        Self::call(address, &status, Shown::Token)
    }

    /// What to exit with.
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// An error and what it came from, outermost first.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The error of a call or of an operation.
fn sentence(status: &Status, shown: Shown) -> String {
    let details = Details::of(status.details());
    let mut text = format!("{}: {}", code_name(status.code()), status.message());
    for note in &details.notes {
        // A single violation is the message already.
        if !status.message().contains(note.as_str()) {
            text.push_str("; ");
            text.push_str(note);
        }
    }
    text.push_str(hint_for_refusal(status.code(), shown).unwrap_or_default());
    let header = status.metadata().get(headers::REQUEST_ID).and_then(|id| id.to_str().ok());
    if let Some(id) = details.request_id.as_deref().or(header) {
        // Writing to a string cannot fail.
        write!(text, " (request {id})").ok();
    }
    text
}

/// What to try when there is no connection.
fn hint_for_connection(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let kind = error.downcast_ref::<std::io::Error>()?.kind();
    match kind {
        std::io::ErrorKind::ConnectionRefused => Some("; nothing listens there: is it running?"),
        std::io::ErrorKind::InvalidData => {
            Some("; --ca must name the authority of its certificate, and --endpoint its name")
        }
        _ => None,
    }
}

/// What to try after a refusal. What certificates may do is in no binding, and not explained.
const fn hint_for_refusal(code: Code, shown: Shown) -> Option<&'static str> {
    match (code, shown) {
        (Code::Unauthenticated, Shown::Token) => {
            Some("; a token lives for twelve hours at most, --sa-key logs in each time")
        }
        (Code::PermissionDenied, Shown::Token) => Some("; lockbox iam explain says why"),
        _ => None,
    }
}

/// What the error's details say.
#[derive(Default)]
struct Details {
    notes: Vec<String>,
    request_id: Option<String>,
}

impl Details {
    fn of(bytes: &[u8]) -> Self {
        // Details are an addition: without readable ones the message still stands.
        let status = rpc::Status::decode(bytes).unwrap_or_default();
        let mut details = Self::default();
        for any in &status.details {
            if let Ok(wrong) = any.to_msg::<BadRequest>() {
                let fields = wrong.field_violations.into_iter();
                details.notes.extend(fields.map(|v| format!("{}: {}", v.field, v.description)));
            } else if let Ok(unmet) = any.to_msg::<PreconditionFailure>() {
                let conditions = unmet.violations.into_iter();
                let text = |v: rpc::precondition_failure::Violation| {
                    format!("{} {}: {}", v.r#type, v.subject, v.description)
                };
                details.notes.extend(conditions.map(text));
            } else if let Ok(quota) = any.to_msg::<QuotaFailure>() {
                let limits = quota.violations.into_iter();
                details.notes.extend(limits.map(|v| format!("{}: {}", v.subject, v.description)));
            } else if let Ok(request) = any.to_msg::<RequestInfo>() {
                details.request_id = Some(request.request_id).filter(|id| !id.is_empty());
            }
        }
        details
    }
}

/// The text with control characters escaped.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

#[cfg(test)]
mod tests {
    use lockbox_platform::status::{ApiError, FieldViolation};

    use super::*;

    #[test]
    fn a_refusal_names_code_fields_and_request() {
        let violation = |field: &str| FieldViolation {
            field: field.to_owned(),
            description: "is too long".to_owned(),
        };
        let error = ApiError::violations(vec![violation("name"), violation("description")]);
        let failure = Failure::call("a:1", &error.into_status("0af7"), Shown::Token);
        assert_eq!(failure.exit(), Exit::Refused);
        let text = failure.to_string();
        assert!(text.starts_with("INVALID_ARGUMENT: "), "{text}");
        assert!(text.contains("name: is too long"), "{text}");
        assert!(text.contains("description: is too long"), "{text}");
        assert!(text.ends_with(" (request 0af7)"), "{text}");
    }

    #[test]
    fn no_leader_and_no_time_are_out_of_reach() {
        for code in [Code::Unavailable, Code::DeadlineExceeded] {
            let status = Status::new(code, "no leader");
            let failure = Failure::call("a:1", &status, Shown::Token);
            assert_eq!(failure.exit(), Exit::Unreachable);
            assert_eq!(failure.to_string(), format!("{}: no leader", code_name(code)));
        }
    }

    #[test]
    fn a_refusal_of_the_caller_says_what_to_try() {
        let text = |status: &Status, shown| Failure::call("a:1", status, shown).to_string();
        let (unknown, denied) = (Status::unauthenticated("no"), Status::permission_denied("no"));
        assert!(text(&unknown, Shown::Token).contains("--sa-key logs in"));
        assert!(text(&denied, Shown::Token).contains("lockbox iam explain"));
        assert_eq!(text(&unknown, Shown::NoToken), "UNAUTHENTICATED: no");
        assert_eq!(text(&denied, Shown::NoToken), "PERMISSION_DENIED: no");
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let text = Failure::unreachable("a:1", &refused).to_string();
        assert!(text.contains("is it running?"), "{text}");
    }

    #[test]
    fn a_servers_text_moves_no_cursor() {
        let status = Status::not_found("no\r\n\u{1b}[2Jsecret");
        let failure = Failure::call("a:1", &status, Shown::Token);
        assert_eq!(failure.to_string(), "NOT_FOUND: no\\r\\n\\u{1b}[2Jsecret");
    }
}

//! What an answer says of the fate of its operation: the table of `verification §3.4`.

use std::error::Error;

use tonic::metadata::MetadataMap;
use tonic::{ConnectError, Status};

use super::marks::Marks;
use super::wire::{Ended, OutOfContract};
use crate::history::answer::{Answer, Code, Refusal};
use crate::history::call::Call;
use crate::history::op::{Failure, Outcome, Reply};

/// The longest message that is kept, in bytes: a history is no place for pages of them.
const MESSAGE_BYTES_MAX: usize = 200;

/// Classifies an answer that is no error.
#[must_use]
pub fn answered(
    call: &Call,
    metadata: &MetadataMap,
    answer: Result<Ended, OutOfContract>,
) -> Outcome {
    let marks = Marks::read(metadata);
    let ended = match answer {
        Ok(ended) => ended,
        Err(sentence) => return unexpected(Code::Ok, sentence),
    };
    let answer = match ended {
        Ended::Well(answer) => answer,
        Ended::Failed(code, message) => return refused(call, code_of(code.into()), message, marks),
    };
    match marks {
        Marks::At(place) => Outcome::Ok(Reply {
            answer,
            index: place.index,
            term: place.term,
            served_by: place.served_by,
        }),
        Marks::Wrong(sentence) => unexpected(Code::Ok, sentence),
        Marks::NotProposed => unexpected(Code::Ok, "a success that was not proposed".to_owned()),
        Marks::Nothing => unexpected(Code::Ok, "a success without an index".to_owned()),
    }
}

/// Classifies an error.
#[must_use]
pub fn failed(call: &Call, status: &Status) -> Outcome {
    let code = code_of(status.code());
    if status.source().is_some() {
        // Nobody said this; it is how our end of the connection saw it break.
        return match never_left(status) {
            true => Outcome::Fail(failure(code, status.message().to_owned())),
            false => unknown(call, code, status.message().to_owned()),
        };
    }
    refused(call, code, status.message().to_owned(), Marks::read(status.metadata()))
}

/// Classifies an operation whose answer was not waited for any longer.
#[must_use]
pub fn given_up(call: &Call, sentence: &str) -> Outcome {
    unknown(call, Code::DeadlineExceeded, sentence.to_owned())
}

/// Classifies an operation whose connection could not be made.
#[must_use]
pub fn unreachable(sentence: String) -> Outcome {
    Outcome::Fail(failure(Code::Unavailable, sentence))
}

fn refused(call: &Call, code: Code, message: String, marks: Marks) -> Outcome {
    match (marks, code) {
        (Marks::Wrong(sentence), _) => unexpected(code, format!("{sentence} ({message})")),
        // A refusal of the caller's token judges the caller, and no answer of the model can tell.
        (_, Code::Unauthenticated) | (Marks::NotProposed, _) => {
            Outcome::Fail(failure(code, message))
        }
        (Marks::At(place), code) if code.is_decision() => Outcome::Ok(Reply {
            answer: Answer::Refused(Refusal { code, message: short(message) }),
            index: place.index,
            term: place.term,
            served_by: place.served_by,
        }),
        (Marks::Nothing, Code::InvalidArgument) => Outcome::Fail(failure(code, message)),
        // With a place, too: an earlier try of the call was refused there, and the last one ended
        // without a decision. That is no observation of anything.
        (
            Marks::At(_) | Marks::Nothing,
            Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unavailable
            | Code::Internal
            | Code::Unknown,
        ) => unknown(call, code, message),
        (
            Marks::At(_) | Marks::Nothing,
            Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss,
        ) => unexpected(code, message),
    }
}

/// Nobody knows: of a mutation whether it happened, of a payload read whether it was billed. A
/// read of metadata leaves no trace anywhere.
fn unknown(call: &Call, code: Code, message: String) -> Outcome {
    match call {
        Call::GetSecret(_) | Call::ListVersions(_) | Call::ListSecrets(_) => {
            Outcome::Fail(failure(code, message))
        }
        Call::CreateSecret(_)
        | Call::AddVersion(_)
        | Call::SetCurrentVersion(_)
        | Call::ScheduleDestruction(_)
        | Call::CancelDestruction(_)
        | Call::Activate(_)
        | Call::Deactivate(_)
        | Call::DeleteSecret(_)
        | Call::UpdateSecret(_)
        | Call::ChangeBinding(_)
        | Call::RevokeToken(_)
        | Call::GetPayload(_) => Outcome::Info(failure(code, message)),
    }
}

fn unexpected(code: Code, message: String) -> Outcome {
    Outcome::Unexpected(failure(code, message))
}

fn failure(code: Code, message: String) -> Failure {
    Failure { code, message: short(message) }
}

fn short(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let end = (0..=MESSAGE_BYTES_MAX).rev().find(|end| message.is_char_boundary(*end));
        message.truncate(end.unwrap_or(0));
    }
    message
}

/// Whether the request was not sent, for there was no connection to send it on.
fn never_left(status: &Status) -> bool {
    let first: Option<&(dyn Error + 'static)> = status.source();
    std::iter::successors(first, |&error| error.source()).any(|error| error.is::<ConnectError>())
}

/// The history's name of a code.
const fn code_of(code: tonic::Code) -> Code {
    match code {
        tonic::Code::Ok => Code::Ok,
        tonic::Code::Cancelled => Code::Cancelled,
        tonic::Code::Unknown => Code::Unknown,
        tonic::Code::InvalidArgument => Code::InvalidArgument,
        tonic::Code::DeadlineExceeded => Code::DeadlineExceeded,
        tonic::Code::NotFound => Code::NotFound,
        tonic::Code::AlreadyExists => Code::AlreadyExists,
        tonic::Code::PermissionDenied => Code::PermissionDenied,
        tonic::Code::ResourceExhausted => Code::ResourceExhausted,
        tonic::Code::FailedPrecondition => Code::FailedPrecondition,
        tonic::Code::Aborted => Code::Aborted,
        tonic::Code::OutOfRange => Code::OutOfRange,
        tonic::Code::Unimplemented => Code::Unimplemented,
        tonic::Code::Internal => Code::Internal,
        tonic::Code::Unavailable => Code::Unavailable,
        tonic::Code::DataLoss => Code::DataLoss,
        tonic::Code::Unauthenticated => Code::Unauthenticated,
    }
}

//! One operation in words, for labels and for what appears under the pointer.

use crate::history::answer::Answer;
use crate::history::call::Call;
use crate::history::ids::VersionId;
use crate::history::op::{Op, Outcome};

use super::outcome::latency_ns;
use super::quantity::{Duration, Moment};

/// Characters of an id that a label shows; the last ones, for the first are alike.
const ID_SHOWN: usize = 6;

/// All that matters of it, in one line.
pub(super) fn describe(op: &Op, end_ns: u64) -> String {
    let asked = &op.asked;
    let mut words = format!("#{} {}", op.id, asked.call.name());
    if let Some(secret) = op.secret() {
        words.push_str(&format!(" of {secret}"));
    }
    words.push_str(&format!(
        ", worker {} at node {}, began {}, took {}",
        asked.process,
        asked.node,
        Moment(op.invoked.ns),
        Duration(latency_ns(op, end_ns))
    ));
    let came = match &op.completed {
        Some((_, Outcome::Ok(reply))) => format!(
            "ok: {} at index {} in term {}, served by node {}",
            answer_words(&reply.answer, None),
            reply.index,
            reply.term,
            reply.served_by
        ),
        Some((_, Outcome::Fail(failure))) => {
            format!("fail: {:?} {}", failure.code, failure.message)
        }
        Some((_, Outcome::Info(failure))) => {
            format!("info: {:?} {}", failure.code, failure.message)
        }
        Some((_, Outcome::Unexpected(failure))) => {
            format!("unexpected: {:?} {}", failure.code, failure.message)
        }
        None => "never answered".to_owned(),
    };
    format!("{words}; {came}")
}

/// As little as identifies it: number, call, answer and index.
pub(super) fn label(op: &Op) -> String {
    let call = call_word(&op.asked.call);
    let came = match &op.completed {
        Some((_, Outcome::Ok(reply))) => {
            format!("{} @{}", answer_words(&reply.answer, Some(ID_SHOWN)), reply.index)
        }
        Some((_, Outcome::Fail(failure))) => format!("fail {:?}", failure.code),
        Some((_, Outcome::Info(failure))) => format!("info {:?}", failure.code),
        Some((_, Outcome::Unexpected(failure))) => format!("unexpected {:?}", failure.code),
        None => "no answer".to_owned(),
    };
    format!("#{} {call} → {came}", op.id)
}

const fn call_word(call: &Call) -> &'static str {
    match call {
        Call::GetPayload(_) => "read payload",
        Call::GetSecret(_) => "read secret",
        Call::ListVersions(_) => "list versions",
        Call::ListSecrets(_) => "list secrets",
        Call::AddVersion(_) => "add version",
        Call::CreateSecret(_) => "create",
        Call::SetCurrentVersion(_) => "set current",
        Call::ScheduleDestruction(_) => "schedule destruction",
        Call::CancelDestruction(_) => "cancel destruction",
        Call::Activate(_) => "activate",
        Call::Deactivate(_) => "deactivate",
        Call::DeleteSecret(_) => "delete",
        Call::UpdateSecret(_) => "update",
        Call::ChangeBinding(_) => "change binding",
        Call::RevokeToken(_) => "revoke token",
    }
}

fn answer_words(answer: &Answer, shown: Option<usize>) -> String {
    let id = |version: &VersionId| tail(version.as_str(), shown);
    match answer {
        Answer::Secret(view) => match &view.current {
            Some(version) => format!("current {}", id(&version.id)),
            None => "no version".to_owned(),
        },
        Answer::Version(version) => format!("version {}", id(&version.id)),
        Answer::Versions(list) => match list.versions.first() {
            Some(newest) => format!("{} versions to {}", list.versions.len(), id(&newest.id)),
            None => "no versions".to_owned(),
        },
        Answer::Secrets(page) => match page.next {
            Some(_) => format!("{} secrets and more", page.secrets.len()),
            None => format!("the last {} secrets", page.secrets.len()),
        },
        Answer::Payload(payload) => format!("version {}", id(&payload.version)),
        Answer::Done => "done".to_owned(),
        Answer::Refused(refusal) => format!("refused {:?}", refusal.code),
    }
}

/// The last characters of a text, behind an ellipsis if there are more.
fn tail(text: &str, shown: Option<usize>) -> String {
    let length = text.chars().count();
    match shown {
        Some(shown) if length > shown + 1 => {
            format!("…{}", text.chars().skip(length - shown).collect::<String>())
        }
        Some(_) | None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::tail;

    #[test]
    fn a_long_id_shows_its_end() {
        assert_eq!(tail("e6q0000000000000004f", Some(6)), "…00004f");
        assert_eq!(tail("seven77", Some(6)), "seven77");
        assert_eq!(tail("ünïcödé-ïds", Some(3)), "…ïds");
        assert_eq!(tail("e6q0000000000000004f", None), "e6q0000000000000004f");
    }
}

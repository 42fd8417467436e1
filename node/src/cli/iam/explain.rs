//! `lockbox iam explain`: why somebody may or may not do something.

use std::fmt::Write as _;

use clap::Args;
use lockbox_core::{Permission, SubjectKind};
use lockbox_proto::lockbox::iam::v1::access_service_client::AccessServiceClient;
use lockbox_proto::lockbox::iam::v1::{ExplainRequest, ExplainResponse, HeldBinding};
use lockbox_proto::yandex::cloud::access::Subject;

use crate::cli::connect::Context;
use crate::cli::failure::{Failure, one_line};
use crate::cli::output::{self, Format, Record};
use crate::cli::session::Kind;

/// Who, what, and on which resource.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// `TYPE:ID`, as in `serviceAccount:aje...`, the id of a service account, or `me`.
    #[arg(value_parser = subject)]
    subject: Whom,
    /// A permission, such as `payload.get`; a wrong one is answered with a list of them all.
    #[arg(value_parser = permission)]
    permission: Permission,
    /// The id of an organization, cloud, folder, secret, version or service account. What is bound
    /// on a key of the KMS is not known here: ask about its folder.
    resource_id: String,
}

/// Whom the question is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Whom {
    Me,
    Other(SubjectKind, String),
}

fn subject(text: &str) -> Result<Whom, String> {
    match text.split_once(':') {
        None if text == "me" => Ok(Whom::Me),
        None => Ok(Whom::Other(SubjectKind::ServiceAccount, text.to_owned())),
        Some((kind, id)) => match SubjectKind::parse(kind) {
            Some(kind) => Ok(Whom::Other(kind, id.to_owned())),
            None => {
                let known = SubjectKind::ALL.map(SubjectKind::as_str).join(", ");
                Err(format!("the type of a subject is one of {known}"))
            }
        },
    }
}

fn permission(text: &str) -> Result<Permission, String> {
    Permission::parse(text).ok_or_else(|| {
        let known: Vec<_> = Permission::ALL.iter().map(|known| known.as_str()).collect();
        format!("known are {}", known.join(", "))
    })
}

impl Explain {
    /// Asks, and shows the answer.
    pub(crate) fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        let subject = match self.subject {
            Whom::Me => None,
            Whom::Other(kind, id) => Some(Subject { id, r#type: kind.as_str().to_owned() }),
        };
        let permission = self.permission.as_str().to_owned();
        let resource_id = self.resource_id;
        let request = ExplainRequest { subject, permission, resource_id: resource_id.clone() };
        context.run(async |session| {
            let send =
                async |channel, request| AccessServiceClient::new(channel).explain(request).await;
            let answer = session.call(Kind::Repeatable, &request, send).await?;
            match context.format() {
                Format::Text => Ok(for_people(&answer, &resource_id)),
                format => output::one(format, &Record::of(&answer)?),
            }
        })
    }
}

/// One sentence with the decision, and a line for each resource on the way with what is held there.
fn for_people(answer: &ExplainResponse, asked: &str) -> String {
    let subject = answer.subject.clone().unwrap_or_default();
    let verb = if answer.allowed { "may" } else { "may not" };
    let who = one_line(&format!("{}:{}", subject.r#type, subject.id));
    let on = answer.path.last().map(|leaf| format!("{} {}", leaf.r#type, leaf.id));
    let mut text = format!(
        "{who} {verb} {} on {} (at index {})\n",
        answer.permission,
        one_line(&on.unwrap_or_else(|| asked.to_owned())),
        answer.index
    );
    let mut line = |line: String| {
        // Writing to a string cannot fail.
        writeln!(text, "  {}", one_line(&line)).ok();
    };
    if !answer.subject_problem.is_empty() {
        line(format!("the subject {}", answer.subject_problem));
    }
    for resource in &answer.path {
        let here = answer.held.iter().filter(|held| held.resource.as_ref() == Some(resource));
        let roles: Vec<String> = here
            .map(|held| {
                let binding = held.access_binding.clone().unwrap_or_default();
                let through = binding.subject.filter(|bound| *bound != subject);
                let through = through.map(|by| format!(" through {}:{}", by.r#type, by.id));
                format!("{}{} {}", binding.role_id, through.unwrap_or_default(), gives(held))
            })
            .collect();
        let roles = if roles.is_empty() { "nothing".to_owned() } else { roles.join("; ") };
        line(format!("{} {}: {roles}", resource.r#type, resource.id));
    }
    for remark in &answer.remarks {
        line(remark.clone());
    }
    if answer.path.is_empty() {
        line("where it is, and what others hold there, you may not look at".to_owned());
        for held in &answer.held {
            let binding = held.access_binding.clone().unwrap_or_default();
            let on = held.resource.clone().unwrap_or_default();
            line(format!("{} {}: {} {}", on.r#type, on.id, binding.role_id, gives(held)));
        }
    }
    if answer.some_hidden {
        line("more is held where you may not look".to_owned());
    }
    if !answer.kms_key_id.is_empty() {
        line(format!("its payloads are under the key {}: the KMS decides too", answer.kms_key_id));
    }
    text
}

/// What a binding does for the permission, and what keeps it from doing so.
fn gives(held: &HeldBinding) -> String {
    let gives = if held.grants { "gives it" } else { "does not give it" };
    match held.unmet.as_str() {
        "" => gives.to_owned(),
        unmet => format!("{gives}: {unmet}"),
    }
}

#[cfg(test)]
mod tests {
    use lockbox_proto::lockbox::iam::v1::Resource;
    use lockbox_proto::yandex::cloud::access::AccessBinding;

    use super::*;

    #[test]
    fn subjects_are_ids_of_accounts_or_have_a_type() {
        let account = |id: &str| Whom::Other(SubjectKind::ServiceAccount, id.to_owned());
        assert_eq!(subject("me"), Ok(Whom::Me));
        assert_eq!(subject("aje1"), Ok(account("aje1")));
        assert_eq!(subject("serviceAccount:me"), Ok(account("me")));
        let group = "group:organization:bpf1:users".to_owned();
        let system = subject("system:group:organization:bpf1:users");
        assert_eq!(system, Ok(Whom::Other(SubjectKind::System, group)));
        assert!(subject("robot:a").unwrap_err().contains("serviceAccount"));
        assert!(permission("payload.steal").unwrap_err().contains("payload.get"));
    }

    #[test]
    fn people_see_the_decision_and_every_resource_on_the_way() {
        let subject = Subject { id: "aje1".into(), r#type: "serviceAccount".into() };
        let resource = |kind: &str, id: &str| Resource { r#type: kind.into(), id: id.into() };
        let held = |on: Resource, role: &str, grants: bool| HeldBinding {
            resource: Some(on),
            access_binding: Some(AccessBinding {
                role_id: role.into(),
                subject: Some(subject.clone()),
            }),
            grants,
            unmet: String::new(),
        };
        let (folder, secret) = (resource("folder", "b1g1"), resource("secret", "e6q1"));
        let answer = ExplainResponse {
            allowed: false,
            index: 7,
            subject: Some(subject.clone()),
            permission: "payload.get".into(),
            path: vec![folder.clone(), secret.clone()],
            held: vec![
                held(folder, "lockbox.viewer", false),
                HeldBinding {
                    unmet: "has ended".into(),
                    ..held(secret, "lockbox.payloadViewer;until=2025-12-01T00:00:00Z", false)
                },
            ],
            subject_problem: "is suspended".into(),
            kms_key_id: "abj1".into(),
            some_hidden: true,
            remarks: vec!["the sun shines".into()],
        };
        let expected = "serviceAccount:aje1 may not payload.get on secret e6q1 (at index 7)\n  \
                        the subject is suspended\n  \
                        folder b1g1: lockbox.viewer does not give it\n  \
                        secret e6q1: lockbox.payloadViewer;until=2025-12-01T00:00:00Z does not \
                        give it: has ended\n  \
                        the sun shines\n  \
                        more is held where you may not look\n  \
                        its payloads are under the key abj1: the KMS decides too\n";
        assert_eq!(for_people(&answer, "e6q1"), expected);
        // Who may not see the resource is told of the id it asked about.
        let answer = ExplainResponse { path: Vec::new(), held: Vec::new(), ..answer };
        let told = for_people(&answer, "e6q1");
        assert!(told.starts_with("serviceAccount:aje1 may not payload.get on e6q1 (at"), "{told}");
        assert!(told.contains("you may not look at"), "{told}");
    }
}

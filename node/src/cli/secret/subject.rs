//! Who a binding is about, in one of the ways of the command line (`contract §11`).

use clap::Args;
use lockbox_core::SubjectKind;
use lockbox_proto::yandex::cloud::access::Subject;
use lockbox_proto::yandex::cloud::iam::v1::ListServiceAccountsRequest;
use lockbox_proto::yandex::cloud::iam::v1::service_account_service_client::ServiceAccountServiceClient;

use crate::cli::connect::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::filter;
use crate::cli::session::{Kind, Session};

/// Exactly one of them.
#[derive(Debug, Args)]
#[group(id = "subject_flags", required = true, multiple = false)]
pub(crate) struct SubjectFlags {
    /// A service account, by its id.
    #[arg(long, value_name = "ID")]
    service_account_id: Option<String>,
    /// A service account, by its name in the folder.
    #[arg(long, value_name = "NAME")]
    service_account_name: Option<String>,
    /// A user, by the id of the account.
    #[arg(long, value_name = "ID")]
    user_account_id: Option<String>,
    /// Everybody who can log in.
    #[arg(long)]
    all_authenticated_users: bool,
    /// The members of a group.
    #[arg(long, value_name = "ID")]
    group_members: Option<String>,
    /// Everybody of an organization.
    #[arg(long, value_name = "ID")]
    organization_users: Option<String>,
    /// Everybody of an identity federation.
    #[arg(long, value_name = "ID")]
    federation_users: Option<String>,
    /// Any subject as TYPE:ID, for example serviceAccount:aje1 or system:allUsers.
    #[arg(long, value_name = "TYPE:ID", value_parser = parse)]
    subject: Option<Subject>,
}

fn subject(kind: SubjectKind, id: impl Into<String>) -> Subject {
    Subject { id: id.into(), r#type: kind.as_str().to_owned() }
}

/// Reads `TYPE:ID`; the id may have colons of its own.
pub(crate) fn parse(text: &str) -> Result<Subject, String> {
    let kinds = || SubjectKind::ALL.map(SubjectKind::as_str).join(", ");
    let (kind, id) = text.split_once(':').ok_or("a subject is TYPE:ID")?;
    let kind = SubjectKind::parse(kind)
        .ok_or_else(|| format!("the type of a subject is one of {}", kinds()))?;
    if id.is_empty() {
        return Err("a subject is TYPE:ID".to_owned());
    }
    Ok(subject(kind, id))
}

impl SubjectFlags {
    /// The subject; a name is looked up in the folder.
    pub(crate) async fn resolve(
        &self,
        session: &Session,
        context: &Context<'_>,
    ) -> Result<Subject, Failure> {
        if let Some(name) = &self.service_account_name {
            let folder = context.folder()?.id(session).await?;
            return account_named(session, folder, name).await;
        }
        Ok(self.given())
    }

    /// The subject of every flag but the one with a name.
    fn given(&self) -> Subject {
        let by_id = [
            (SubjectKind::ServiceAccount, &self.service_account_id),
            (SubjectKind::UserAccount, &self.user_account_id),
            (SubjectKind::Group, &self.group_members),
        ];
        if let Some((kind, Some(id))) = by_id.into_iter().find(|(_, id)| id.is_some()) {
            return subject(kind, id.clone());
        }
        let set =
            |of: &str, id: &String| subject(SubjectKind::System, format!("group:{of}:{id}:users"));
        if let Some(id) = &self.organization_users {
            return set("organization", id);
        }
        if let Some(id) = &self.federation_users {
            return set("federation", id);
        }
        // The parser lets nobody past without one of the flags.
        self.subject
            .clone()
            .unwrap_or_else(|| subject(SubjectKind::System, "allAuthenticatedUsers"))
    }
}

async fn account_named(
    session: &Session,
    folder_id: String,
    name: &str,
) -> Result<Subject, Failure> {
    let absent = || {
        let message = format_args!("NOT_FOUND: no service account of the folder is named {name:?}");
        Failure::new(Exit::Refused, message)
    };
    let filter = filter::by_name(name).ok_or_else(absent)?;
    let request = ListServiceAccountsRequest { folder_id, filter, ..Default::default() };
    let send =
        async |channel, request| ServiceAccountServiceClient::new(channel).list(request).await;
    let found = session.call(Kind::Repeatable, &request, send).await?;
    let account = found.service_accounts.into_iter().next().ok_or_else(absent)?;
    Ok(subject(SubjectKind::ServiceAccount, account.id))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        flags: SubjectFlags,
    }

    fn given(line: &str) -> Option<(String, String)> {
        let only = Only::try_parse_from(line.split(' ')).ok()?;
        let subject = only.flags.given();
        Some((subject.r#type, subject.id))
    }

    #[test]
    fn every_flag_means_one_subject() {
        let cases = [
            ("x --service-account-id a", "serviceAccount", "a"),
            ("x --user-account-id a", "userAccount", "a"),
            ("x --group-members a", "group", "a"),
            ("x --all-authenticated-users", "system", "allAuthenticatedUsers"),
            ("x --organization-users a", "system", "group:organization:a:users"),
            ("x --federation-users a", "system", "group:federation:a:users"),
            ("x --subject federatedUser:a:b", "federatedUser", "a:b"),
        ];
        for (line, kind, id) in cases {
            assert_eq!(given(line), Some((kind.to_owned(), id.to_owned())), "{line}");
        }
        for line in ["x", "x --subject a", "x --subject robot:a", "x --subject system:"] {
            assert_eq!(given(line), None, "{line}");
        }
        assert_eq!(given("x --user-account-id a --group-members b"), None);
    }
}

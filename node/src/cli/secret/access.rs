//! `lockbox secret list-access-bindings`, `add-`, `remove-access-binding`, `set-access-bindings`.

use clap::{Args, value_parser};
use lockbox_proto::lockbox::iam::v1 as own;
use lockbox_proto::lockbox::iam::v1::access_service_client::AccessServiceClient;
use lockbox_proto::yandex::cloud::access::{
    AccessBinding, AccessBindingAction, AccessBindingDelta, ListAccessBindingsRequest,
    SetAccessBindingsRequest, UpdateAccessBindingsRequest,
};
use lockbox_proto::yandex::cloud::lockbox::v1::secret_service_client::SecretServiceClient;
use lockbox_proto::yandex::cloud::operation::Operation;
use prost_types::Timestamp;

use crate::cli::connect::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Record, Table};
use crate::cli::secret::list::{all_versions, pages};
use crate::cli::secret::mutation::MutationFlags;
use crate::cli::secret::subject::{self, SubjectFlags};
use crate::cli::secret::target::Target;
use crate::cli::session::{Kind, Session};
use crate::conditions;

/// What the bindings stand on.
#[derive(Debug, Args)]
struct Place {
    #[command(flatten)]
    target: Target,
    /// Of this version of the secret alone, and not of the whole secret.
    #[arg(long, value_name = "ID")]
    version_id: Option<String>,
}

impl Place {
    /// The id of the secret, or of the version, which must be one of that secret's.
    async fn resolve(&self, session: &Session, context: &Context<'_>) -> Result<String, Failure> {
        let secret_id = self.target.resolve(session, context).await?;
        let Some(version_id) = &self.version_id else { return Ok(secret_id) };
        let versions = all_versions(session, &secret_id, u64::MAX).await?;
        if versions.iter().any(|version| version.id == *version_id) {
            return Ok(version_id.clone());
        }
        let absent = format_args!("NOT_FOUND: secret {secret_id} has no version {version_id:?}");
        Err(Failure::new(Exit::Refused, absent))
    }
}

/// The secret whose bindings to list.
#[derive(Debug, Args)]
pub(crate) struct ListAccessBindings {
    #[command(flatten)]
    place: Place,
    /// The most that is listed.
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u64).range(1..))]
    limit: u64,
}

impl ListAccessBindings {
    /// Lists the bindings that the secret, or the version, has itself.
    pub(crate) fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        context.run(async |session| {
            let id = self.place.resolve(session, context).await?;
            let bindings = match self.place.version_id {
                None => of_secret(session, &id, self.limit).await?,
                Some(_) => of_version(session, &id, self.limit).await?,
            };
            let records: Result<Vec<_>, _> = bindings.iter().map(Record::of).collect();
            output::many(context.format(), &records?, || table(&bindings))
        })
    }
}

async fn of_secret(session: &Session, id: &str, limit: u64) -> Result<Vec<AccessBinding>, Failure> {
    let fetch = async |page_size, page_token| {
        let resource_id = id.to_owned();
        let request = ListAccessBindingsRequest { resource_id, page_size, page_token };
        let send = async |channel, request| {
            SecretServiceClient::new(channel).list_access_bindings(request).await
        };
        let page = session.call(Kind::Repeatable, &request, send).await?;
        Ok((page.access_bindings, page.next_page_token))
    };
    pages(limit, fetch).await
}

/// In the form that those of secrets have, conditions behind the role.
async fn of_version(
    session: &Session,
    id: &str,
    limit: u64,
) -> Result<Vec<AccessBinding>, Failure> {
    let fetch = async |page_size, page_token| {
        let resource_id = id.to_owned();
        let request = own::ListBindingsRequest { resource_id, page_size, page_token };
        let send =
            async |channel, request| AccessServiceClient::new(channel).list_bindings(request).await;
        let page = session.call(Kind::Repeatable, &request, send).await?;
        Ok((page.bindings, page.next_page_token))
    };
    let noted = |binding: own::Binding| AccessBinding {
        role_id: conditions::note(&binding.role_id, binding.conditions.as_ref()),
        subject: binding.subject,
    };
    Ok(pages(limit, fetch).await?.into_iter().map(noted).collect())
}

/// The bindings for people (`contract §11`).
pub(crate) fn table(bindings: &[AccessBinding]) -> Table {
    let row = |binding: &AccessBinding| {
        let subject = binding.subject.clone().unwrap_or_default();
        vec![binding.role_id.clone(), subject.r#type, subject.id]
    };
    Table {
        columns: vec!["ROLE ID", "SUBJECT TYPE", "SUBJECT ID"],
        rows: bindings.iter().map(row).collect(),
    }
}

/// What the role takes to count.
#[derive(Debug, Args)]
struct ConditionFlags {
    /// The end of it, for example 2026-12-31T18:00:00Z: from then on it gives nothing.
    #[arg(long, value_name = "TIME", value_parser = time)]
    not_after: Option<Timestamp>,
    /// Only for the payload of the version that is current; of lockbox.payloadViewer alone.
    #[arg(long)]
    only_current_version: bool,
}

fn time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "is no time like 2026-12-31T18:00:00Z".to_owned())
}

impl ConditionFlags {
    fn given(&self) -> Option<own::Conditions> {
        let Self { not_after, only_current_version } = *self;
        let any = not_after.is_some() || only_current_version;
        any.then_some(own::Conditions { not_after, only_current_version })
    }
}

/// One binding of a secret, or of one of its versions.
#[derive(Debug, Args)]
pub(crate) struct OneBinding {
    #[command(flatten)]
    place: Place,
    /// The role, for example lockbox.payloadViewer; of a version there is no other.
    #[arg(long, value_name = "ROLE")]
    role: String,
    #[command(flatten)]
    subject: SubjectFlags,
    #[command(flatten)]
    conditions: ConditionFlags,
    #[command(flatten)]
    mutation: MutationFlags,
}

impl OneBinding {
    /// Gives the role.
    pub(crate) fn add(self, context: &Context<'_>) -> Result<String, Failure> {
        self.change(AccessBindingAction::Add, context)
    }

    /// Takes the role; without conditions, whatever the conditions that it was given under.
    pub(crate) fn remove(self, context: &Context<'_>) -> Result<String, Failure> {
        self.change(AccessBindingAction::Remove, context)
    }

    fn change(self, action: AccessBindingAction, context: &Context<'_>) -> Result<String, Failure> {
        context.run(async |session| {
            let id = self.place.resolve(session, context).await?;
            let subject = self.subject.resolve(session, context).await?;
            let conditions = self.conditions.given();
            let operation = if self.place.version_id.is_none() && conditions.is_none() {
                let binding = AccessBinding { role_id: self.role.clone(), subject: Some(subject) };
                self.call(session, id, action, binding).await?
            } else {
                let binding =
                    own::Binding { role_id: self.role.clone(), subject: Some(subject), conditions };
                self.call_own(session, id, action, binding).await?
            };
            self.mutation.finish(session, operation, context.format()).await
        })
    }

    /// By the API of the cloud: it has all that is needed.
    async fn call(
        &self,
        session: &Session,
        resource_id: String,
        action: AccessBindingAction,
        binding: AccessBinding,
    ) -> Result<Operation, Failure> {
        let delta = AccessBindingDelta { action: action.into(), access_binding: Some(binding) };
        let access_binding_deltas = vec![delta];
        let request = UpdateAccessBindingsRequest { resource_id, access_binding_deltas };
        let send = async |channel, request| {
            SecretServiceClient::new(channel).update_access_bindings(request).await
        };
        self.mutation.call(session, &request, send).await
    }

    async fn call_own(
        &self,
        session: &Session,
        resource_id: String,
        action: AccessBindingAction,
        binding: own::Binding,
    ) -> Result<Operation, Failure> {
        let deltas = vec![own::BindingDelta { action: action.into(), binding: Some(binding) }];
        let request = own::UpdateBindingsRequest { resource_id, deltas };
        let send = async |channel, request| {
            AccessServiceClient::new(channel).update_bindings(request).await
        };
        self.mutation.call(session, &request, send).await
    }
}

/// All bindings of a secret.
#[derive(Debug, Args)]
pub(crate) struct SetAccessBindings {
    #[command(flatten)]
    target: Target,
    /// One of the new bindings, as role=ROLE,subject=TYPE:ID; none at all takes every role. Behind
    /// the role may be conditions: ;until=TIME and ;current.
    #[arg(long, value_name = "BINDING", value_parser = binding)]
    access_binding: Vec<AccessBinding>,
    /// Required: who has a role now and is not named loses it, and nothing asks.
    #[arg(long, short = 'y', required = true)]
    yes: bool,
    #[command(flatten)]
    mutation: MutationFlags,
}

/// Reads `role=ROLE,subject=TYPE:ID`, in any order.
pub(crate) fn binding(text: &str) -> Result<AccessBinding, String> {
    let form = || "a binding is role=ROLE,subject=TYPE:ID".to_owned();
    let (mut role, mut whom) = (None, None);
    for part in text.split(',') {
        match part.split_once('=').ok_or_else(form)? {
            ("role", id) if role.is_none() && !id.is_empty() => role = Some(id.to_owned()),
            ("subject", id) if whom.is_none() => whom = Some(subject::parse(id)?),
            _ => return Err(form()),
        }
    }
    let (Some(role_id), Some(whom)) = (role, whom) else { return Err(form()) };
    Ok(AccessBinding { role_id, subject: Some(whom) })
}

impl SetAccessBindings {
    /// Replaces the bindings that the secret has itself.
    pub(crate) fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        context.run(async |session| {
            let resource_id = self.target.resolve(session, context).await?;
            let access_bindings = self.access_binding.clone();
            let request = SetAccessBindingsRequest { resource_id, access_bindings };
            let send = async |channel, request| {
                SecretServiceClient::new(channel).set_access_bindings(request).await
            };
            let operation = self.mutation.call(session, &request, send).await?;
            self.mutation.finish(session, operation, context.format()).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_given_or_not_there() {
        let flags = |not_after, only_current_version| {
            ConditionFlags { not_after, only_current_version }.given()
        };
        assert_eq!(flags(None, false), None);
        assert!(flags(None, true).unwrap().only_current_version);
        let end = time("2025-12-01T03:00:00+03:00").unwrap();
        assert_eq!(flags(Some(end), false).unwrap().not_after, Some(end));
        assert_eq!(end.seconds, 1_764_547_200);
        assert!(time("tomorrow").is_err() && time("").is_err());
    }

    #[test]
    fn a_binding_is_a_role_and_a_subject() {
        let read = binding("subject=system:group:organization:o:users,role=lockbox.viewer");
        let read = read.unwrap();
        assert_eq!(read.role_id, "lockbox.viewer");
        assert_eq!(read.subject.unwrap().id, "group:organization:o:users");
        for wrong in [
            "",
            "role=a",
            "subject=system:allUsers",
            "role=a,role=b,subject=system:allUsers",
            "role=,subject=system:allUsers",
            "role=a,subject=b",
            "role=a,subject=system:allUsers,until=tomorrow",
        ] {
            assert!(binding(wrong).is_err(), "{wrong}");
        }
    }
}

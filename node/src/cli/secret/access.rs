//! `lockbox secret list-access-bindings`, `add-`, `remove-access-binding`, `set-access-bindings`.

use clap::{Args, value_parser};
use lockbox_proto::yandex::cloud::access::{
    AccessBinding, AccessBindingAction, AccessBindingDelta, ListAccessBindingsRequest,
    SetAccessBindingsRequest, UpdateAccessBindingsRequest,
};
use lockbox_proto::yandex::cloud::lockbox::v1::secret_service_client::SecretServiceClient;

use crate::cli::connect::Context;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Record, Table};
use crate::cli::secret::list::pages;
use crate::cli::secret::mutation::MutationFlags;
use crate::cli::secret::subject::{self, SubjectFlags};
use crate::cli::secret::target::Target;
use crate::cli::session::Kind;

/// The secret whose bindings to list.
#[derive(Debug, Args)]
pub(crate) struct ListAccessBindings {
    #[command(flatten)]
    target: Target,
    /// The most that is listed.
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u64).range(1..))]
    limit: u64,
}

impl ListAccessBindings {
    /// Lists the bindings that the secret has itself.
    pub(crate) fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        context.run(async |session| {
            let resource_id = self.target.resolve(session, context).await?;
            let fetch = async |page_size, page_token| {
                let resource_id = resource_id.clone();
                let request = ListAccessBindingsRequest { resource_id, page_size, page_token };
                let send = async |channel, request| {
                    SecretServiceClient::new(channel).list_access_bindings(request).await
                };
                let page = session.call(Kind::Repeatable, &request, send).await?;
                Ok((page.access_bindings, page.next_page_token))
            };
            let bindings = pages(self.limit, fetch).await?;
            let records: Result<Vec<_>, _> = bindings.iter().map(Record::of).collect();
            output::many(context.format(), &records?, || table(&bindings))
        })
    }
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

/// One binding of a secret.
#[derive(Debug, Args)]
pub(crate) struct OneBinding {
    #[command(flatten)]
    target: Target,
    /// The role, for example lockbox.payloadViewer.
    #[arg(long, value_name = "ROLE")]
    role: String,
    #[command(flatten)]
    subject: SubjectFlags,
    #[command(flatten)]
    mutation: MutationFlags,
}

impl OneBinding {
    /// Gives the role.
    pub(crate) fn add(self, context: &Context<'_>) -> Result<String, Failure> {
        self.change(AccessBindingAction::Add, context)
    }

    /// Takes the role.
    pub(crate) fn remove(self, context: &Context<'_>) -> Result<String, Failure> {
        self.change(AccessBindingAction::Remove, context)
    }

    fn change(self, action: AccessBindingAction, context: &Context<'_>) -> Result<String, Failure> {
        context.run(async |session| {
            let resource_id = self.target.resolve(session, context).await?;
            let subject = self.subject.resolve(session, context).await?;
            let binding = AccessBinding { role_id: self.role.clone(), subject: Some(subject) };
            let delta = AccessBindingDelta { action: action.into(), access_binding: Some(binding) };
            let access_binding_deltas = vec![delta];
            let request = UpdateAccessBindingsRequest { resource_id, access_binding_deltas };
            let send = async |channel, request| {
                SecretServiceClient::new(channel).update_access_bindings(request).await
            };
            let operation = self.mutation.call(session, &request, send).await?;
            self.mutation.finish(session, operation, context.format()).await
        })
    }
}

/// All bindings of a secret.
#[derive(Debug, Args)]
pub(crate) struct SetAccessBindings {
    #[command(flatten)]
    target: Target,
    /// One of the new bindings, as role=ROLE,subject=TYPE:ID; none at all takes every role.
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

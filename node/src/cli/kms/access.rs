//! `lockbox kms symmetric-key list-access-bindings`, `add-`, `remove-access-binding`,
//! `set-access-bindings`.

use clap::{Args, value_parser};
use lockbox_proto::yandex::cloud::access::{
    AccessBinding, AccessBindingAction, AccessBindingDelta, ListAccessBindingsRequest,
    SetAccessBindingsRequest, UpdateAccessBindingsRequest,
};
use lockbox_proto::yandex::cloud::kms::v1::symmetric_key_service_client::SymmetricKeyServiceClient;

use crate::cli::failure::Failure;
use crate::cli::kms::connect::KmsContext;
use crate::cli::kms::target::KeyTarget;
use crate::cli::output::{self, Record};
use crate::cli::secret::access::{binding, table};
use crate::cli::secret::list::pages;
use crate::cli::secret::mutation::MutationFlags;
use crate::cli::secret::subject::SubjectFlags;
use crate::cli::session::Kind;

/// The key whose bindings to list.
#[derive(Debug, Args)]
pub(crate) struct ListAccessBindings {
    #[command(flatten)]
    target: KeyTarget,
    /// The most that is listed.
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u64).range(1..))]
    limit: u64,
}

impl ListAccessBindings {
    /// Lists the bindings that the key has itself.
    pub(crate) fn run(self, context: &KmsContext<'_>) -> Result<String, Failure> {
        context.run(async |kms| {
            let resource_id = self.target.resolve(kms).await?;
            let fetch = async |page_size, page_token| {
                let resource_id = resource_id.clone();
                let request = ListAccessBindingsRequest { resource_id, page_size, page_token };
                let send = async |channel, request| {
                    SymmetricKeyServiceClient::new(channel).list_access_bindings(request).await
                };
                let page = kms.session.call(Kind::Repeatable, &request, send).await?;
                Ok((page.access_bindings, page.next_page_token))
            };
            let bindings = pages(self.limit, fetch).await?;
            let records: Result<Vec<_>, _> = bindings.iter().map(Record::of).collect();
            output::many(context.format(), &records?, || table(&bindings))
        })
    }
}

/// One binding of a key.
#[derive(Debug, Args)]
pub(crate) struct OneBinding {
    #[command(flatten)]
    target: KeyTarget,
    /// The role, for example kms.keys.encrypterDecrypter.
    #[arg(long, value_name = "ROLE")]
    role: String,
    #[command(flatten)]
    subject: SubjectFlags,
    #[command(flatten)]
    mutation: MutationFlags,
}

impl OneBinding {
    /// Gives the role.
    pub(crate) fn add(self, context: &KmsContext<'_>) -> Result<String, Failure> {
        self.change(AccessBindingAction::Add, context)
    }

    /// Takes the role.
    pub(crate) fn remove(self, context: &KmsContext<'_>) -> Result<String, Failure> {
        self.change(AccessBindingAction::Remove, context)
    }

    fn change(
        self,
        action: AccessBindingAction,
        context: &KmsContext<'_>,
    ) -> Result<String, Failure> {
        context.run(async |kms| {
            let resource_id = self.target.resolve(kms).await?;
            let subject = self.subject.resolve(kms.node, kms.context).await?;
            let binding = AccessBinding { role_id: self.role.clone(), subject: Some(subject) };
            let delta = AccessBindingDelta { action: action.into(), access_binding: Some(binding) };
            let access_binding_deltas = vec![delta];
            let request = UpdateAccessBindingsRequest { resource_id, access_binding_deltas };
            let send = async |channel, request| {
                SymmetricKeyServiceClient::new(channel).update_access_bindings(request).await
            };
            let operation = self.mutation.call(&kms.session, &request, send).await?;
            self.mutation.finish(&kms.session, operation, context.format()).await
        })
    }
}

/// All bindings of a key.
#[derive(Debug, Args)]
pub(crate) struct SetAccessBindings {
    #[command(flatten)]
    target: KeyTarget,
    /// One of the new bindings, as role=ROLE,subject=TYPE:ID; none at all takes every role.
    #[arg(long, value_name = "BINDING", value_parser = binding)]
    access_binding: Vec<AccessBinding>,
    /// Required: who has a role now and is not named loses it, and nothing asks.
    #[arg(long, short = 'y', required = true)]
    yes: bool,
    #[command(flatten)]
    mutation: MutationFlags,
}

impl SetAccessBindings {
    /// Replaces the bindings that the key has itself.
    pub(crate) fn run(self, context: &KmsContext<'_>) -> Result<String, Failure> {
        context.run(async |kms| {
            let resource_id = self.target.resolve(kms).await?;
            let access_bindings = self.access_binding.clone();
            let request = SetAccessBindingsRequest { resource_id, access_bindings };
            let send = async |channel, request| {
                SymmetricKeyServiceClient::new(channel).set_access_bindings(request).await
            };
            let operation = self.mutation.call(&kms.session, &request, send).await?;
            self.mutation.finish(&kms.session, operation, context.format()).await
        })
    }
}

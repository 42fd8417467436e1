//! `lockbox secret update`.

use clap::{ArgGroup, Args};
use lockbox_proto::yandex::cloud::lockbox::v1::UpdateSecretRequest;
use lockbox_proto::yandex::cloud::lockbox::v1::secret_service_client::SecretServiceClient;
use prost_types::FieldMask;

use crate::cli::connect::Context;
use crate::cli::failure::Failure;
use crate::cli::secret::labels::{self, Labels};
use crate::cli::secret::mutation::MutationFlags;
use crate::cli::secret::target::Target;

/// What to change; what is not given stays as it is.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
pub(crate) struct Update {
    #[command(flatten)]
    target: Target,
    /// Another name.
    #[arg(long, value_name = "NAME", group = "change")]
    new_name: Option<String>,
    /// Another description; empty for none.
    #[arg(long, value_name = "TEXT", group = "change")]
    description: Option<String>,
    /// Labels instead of all that there are; empty for none.
    #[arg(long, value_name = "KEY=VALUE,...", value_parser = labels::parse, group = "change")]
    labels: Option<Labels>,
    /// Refuse to delete the secret.
    #[arg(long, group = "change")]
    deletion_protection: bool,
    /// Let the secret be deleted.
    #[arg(long, conflicts_with = "deletion_protection", group = "change")]
    no_deletion_protection: bool,
    #[command(flatten)]
    mutation: MutationFlags,
}

impl Update {
    /// Changes the secret; shows it.
    pub(crate) fn run(self, context: &Context<'_>) -> Result<String, Failure> {
        context.run(async |session| {
            let secret_id = self.target.resolve(session, context).await?;
            let request = self.request(secret_id);
            let send =
                async |channel, request| SecretServiceClient::new(channel).update(request).await;
            let operation = self.mutation.call(session, &request, send).await?;
            self.mutation.finish(session, operation, context.format()).await
        })
    }

    /// The request, whose mask names exactly the flags that were given (`contract §2.7`).
    fn request(&self, secret_id: String) -> UpdateSecretRequest {
        let mut request = UpdateSecretRequest { secret_id, ..UpdateSecretRequest::default() };
        let mut paths = Vec::new();
        let mut given = |field: &str, is_given: bool| {
            if is_given {
                paths.push(field.to_owned());
            }
        };
        given("name", self.new_name.is_some());
        given("description", self.description.is_some());
        given("labels", self.labels.is_some());
        given("deletion_protection", self.deletion_protection || self.no_deletion_protection);
        request.name = self.new_name.clone().unwrap_or_default();
        request.description = self.description.clone().unwrap_or_default();
        let labels = self.labels.clone().unwrap_or_default();
        request.labels = labels.0.into_iter().collect();
        request.deletion_protection = self.deletion_protection;
        request.update_mask = Some(FieldMask { paths });
        request
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        update: Update,
    }

    fn request(flags: &[&str]) -> Result<UpdateSecretRequest, clap::Error> {
        let line = ["update", "--id", "s"].iter().chain(flags);
        Ok(Line::try_parse_from(line)?.update.request("s".to_owned()))
    }

    fn mask(request: &UpdateSecretRequest) -> &[String] {
        &request.update_mask.as_ref().unwrap().paths
    }

    #[test]
    fn only_what_is_given_changes() {
        let renamed = request(&["--new-name", "n"]).unwrap();
        assert_eq!((mask(&renamed), renamed.name.as_str()), (&["name".to_owned()][..], "n"));
        let cleared = request(&["--labels", "", "--description", ""]).unwrap();
        assert_eq!(mask(&cleared), ["description", "labels"]);
        assert!(cleared.labels.is_empty());
        let open = request(&["--no-deletion-protection"]).unwrap();
        assert_eq!(mask(&open), ["deletion_protection"]);
        assert!(!open.deletion_protection);
        assert!(request(&["--deletion-protection"]).unwrap().deletion_protection);
    }

    #[test]
    fn nothing_to_change_and_both_protections_are_refused() {
        assert!(request(&[]).is_err());
        assert!(request(&["--deletion-protection", "--no-deletion-protection"]).is_err());
    }
}

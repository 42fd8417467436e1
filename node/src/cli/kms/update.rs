//! `lockbox kms symmetric-key update`.

use clap::{ArgGroup, Args, ValueEnum};
use lockbox_proto::yandex::cloud::kms::v1::symmetric_key_service_client::SymmetricKeyServiceClient;
use lockbox_proto::yandex::cloud::kms::v1::{
    SymmetricAlgorithm, UpdateSymmetricKeyRequest, symmetric_key,
};
use prost_types::FieldMask;

use crate::cli::failure::Failure;
use crate::cli::kms::connect::KmsContext;
use crate::cli::kms::create::Algorithm;
use crate::cli::kms::target::KeyTarget;
use crate::cli::period::{self, Period};
use crate::cli::secret::labels::{self, Labels};
use crate::cli::secret::mutation::MutationFlags;

/// Whether a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Status {
    /// It may.
    Active,
    /// It may not, until it is active again.
    Inactive,
}

/// What to change; what is not given stays as it is.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
pub(crate) struct Update {
    #[command(flatten)]
    target: KeyTarget,
    /// Another name.
    #[arg(long, value_name = "NAME", group = "change")]
    new_name: Option<String>,
    /// Another description; empty for none.
    #[arg(long, value_name = "TEXT", group = "change")]
    description: Option<String>,
    /// Labels instead of all that there are; empty for none.
    #[arg(long, value_name = "KEY=VALUE,...", value_parser = labels::parse, group = "change")]
    labels: Option<Labels>,
    /// Whether the key may be used.
    #[arg(long, value_enum, group = "change")]
    status: Option<Status>,
    /// What later versions encrypt with; those that there are keep theirs.
    #[arg(long, value_enum, group = "change")]
    default_algorithm: Option<Algorithm>,
    /// Time between automatic rotations, for example 2160h.
    #[arg(long, value_name = "DURATION", value_parser = period::parse, group = "change")]
    rotation_period: Option<Period>,
    /// Rotate no more by itself.
    #[arg(long, conflicts_with = "rotation_period", group = "change")]
    no_rotation_period: bool,
    /// Refuse to delete the key.
    #[arg(long, group = "change")]
    deletion_protection: bool,
    /// Let the key be deleted.
    #[arg(long, conflicts_with = "deletion_protection", group = "change")]
    no_deletion_protection: bool,
    #[command(flatten)]
    mutation: MutationFlags,
}

impl Update {
    /// Changes the key; shows it.
    pub(crate) fn run(self, context: &KmsContext<'_>) -> Result<String, Failure> {
        context.run(async |kms| {
            let request = self.request(self.target.resolve(kms).await?);
            let send = async |channel, request| {
                SymmetricKeyServiceClient::new(channel).update(request).await
            };
            let operation = self.mutation.call(&kms.session, &request, send).await?;
            self.mutation.finish(&kms.session, operation, context.format()).await
        })
    }

    /// The request, whose mask names exactly the flags that were given (`contract §3.2`).
    fn request(&self, key_id: String) -> UpdateSymmetricKeyRequest {
        let mut request =
            UpdateSymmetricKeyRequest { key_id, ..UpdateSymmetricKeyRequest::default() };
        let mut paths = Vec::new();
        let mut given = |field: &str, is_given: bool| {
            if is_given {
                paths.push(field.to_owned());
            }
        };
        given("name", self.new_name.is_some());
        given("description", self.description.is_some());
        given("labels", self.labels.is_some());
        given("status", self.status.is_some());
        given("default_algorithm", self.default_algorithm.is_some());
        given("rotation_period", self.rotation_period.is_some() || self.no_rotation_period);
        given("deletion_protection", self.deletion_protection || self.no_deletion_protection);
        request.name = self.new_name.clone().unwrap_or_default();
        request.description = self.description.clone().unwrap_or_default();
        request.labels = self.labels.clone().unwrap_or_default().0;
        let status = self.status.map(|status| match status {
            Status::Active => symmetric_key::Status::Active,
            Status::Inactive => symmetric_key::Status::Inactive,
        });
        request.status = status.unwrap_or_default().into();
        let algorithm = self.default_algorithm.map(SymmetricAlgorithm::from);
        request.default_algorithm = algorithm.unwrap_or_default().into();
        request.rotation_period = self.rotation_period.map(Period::to_wire);
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

    const INACTIVE: symmetric_key::Status = symmetric_key::Status::Inactive;

    fn request(flags: &[&str]) -> Result<UpdateSymmetricKeyRequest, clap::Error> {
        let line = ["update", "--id", "k"].iter().chain(flags);
        Ok(Line::try_parse_from(line)?.update.request("k".to_owned()))
    }

    fn mask(request: &UpdateSymmetricKeyRequest) -> &[String] {
        &request.update_mask.as_ref().unwrap().paths
    }

    #[test]
    fn only_what_is_given_changes() {
        let off = request(&["--status", "inactive"]).unwrap();
        assert_eq!((mask(&off), off.status()), (&["status".to_owned()][..], INACTIVE));
        let period = request(&["--rotation-period", "24h"]).unwrap();
        assert_eq!(mask(&period), ["rotation_period"]);
        assert_eq!(period.rotation_period.unwrap().seconds, 86_400);
        let none = request(&["--no-rotation-period", "--default-algorithm", "aes-128"]).unwrap();
        assert_eq!(mask(&none), ["default_algorithm", "rotation_period"]);
        assert_eq!(none.rotation_period, None);
        assert_eq!(none.default_algorithm(), SymmetricAlgorithm::Aes128);
        let open = request(&["--no-deletion-protection", "--labels", ""]).unwrap();
        assert_eq!(mask(&open), ["labels", "deletion_protection"]);
        assert!(!open.deletion_protection);
    }

    #[test]
    fn nothing_to_change_and_contradictions_are_refused() {
        for wrong in [
            &[][..],
            &["--deletion-protection", "--no-deletion-protection"],
            &["--rotation-period", "24h", "--no-rotation-period"],
            &["--status", "creating"],
            &["--default-algorithm", "AES_256"],
        ] {
            assert!(request(wrong).is_err(), "{wrong:?}");
        }
    }
}

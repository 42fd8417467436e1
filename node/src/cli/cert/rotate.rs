//! `lockbox cert rotate` and `lockbox cert rotate-authority`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use lockbox_platform::authority::{self, AUTHORITY_DAYS};

use super::{LeafDays, Place, failed};
use crate::cli::failure::Failure;

/// Certificates to issue anew.
#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// The certificates; those in the authority's directory when not given. Their keys are beside
    /// them, as `lockbox cert issue` puts them.
    #[arg(value_name = "FILE")]
    certificates: Vec<PathBuf>,
    /// All of them, also those that last.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    life: LeafDays,
}

impl Rotate {
    pub(super) fn run(&self, place: &Place, now_ms: u64) -> Result<String, Failure> {
        let found = if self.certificates.is_empty() {
            authority::leaves(&place.authority).map_err(|error| failed(&error))?
        } else {
            let described = self.certificates.iter().map(|path| {
                let described = authority::describe_first(path).map_err(|error| failed(&error))?;
                Ok::<_, Failure>((path.clone(), described))
            });
            described.collect::<Result<Vec<_>, Failure>>()?
        };
        let mut text = String::new();
        for (path, described) in found {
            // INVARIANT: writing into a String cannot fail.
            if self.all || described.is_due(now_ms) {
                let renewed = authority::renew(&place.files(), &path, self.life.days, now_ms);
                renewed.map_err(|error| failed(&error))?;
                writeln!(text, "renewed {} for {} days", path.display(), self.life.days).ok();
            } else {
                writeln!(text, "{} lasts: left as it is", path.display()).ok();
            }
        }
        if text.is_empty() {
            let place = place.authority.display();
            return Err(Failure::usage(format_args!("there is no certificate in {place}")));
        }
        Ok(text)
    }
}

/// Another authority.
#[derive(Debug, Args)]
pub(super) struct RotateAuthority {
    /// The second step: trust the new authority alone. Certificates in the authority's directory
    /// must be of the new one by then.
    #[arg(long)]
    finish: bool,
    /// How long the new authority is valid.
    #[arg(long, value_name = "DAYS", default_value_t = AUTHORITY_DAYS, conflicts_with = "finish",
        value_parser = clap::value_parser!(u64).range(1..=36_500))]
    days: u64,
}

impl RotateAuthority {
    pub(super) fn run(&self, place: &Place, now_ms: u64) -> Result<String, Failure> {
        let ca = place.files();
        let certificate = ca.certificate.display();
        if self.finish {
            let finished = authority::finish_replacement(&ca, &place.authority);
            finished.map_err(|error| failed(&error))?;
            return Ok(format!(
                "{certificate} holds the new authority alone: give it to all servers and clients\n"
            ));
        }
        authority::begin_replacement(&ca, self.days, now_ms).map_err(|error| failed(&error))?;
        Ok(format!(
            "{certificate} holds both authorities now. Next: give it to all servers and clients; \
             then `lockbox cert rotate --all`, and give the servers their certificates; then \
             `lockbox cert rotate-authority --finish`\n"
        ))
    }
}

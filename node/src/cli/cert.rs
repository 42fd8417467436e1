//! `lockbox cert`: a private authority, the certificates that it issues, and their renewal.
//!
//! Works on files alone: servers look at theirs and take what was replaced without a restart. The
//! authority's key belongs on no server; `--authority` says where it is.

mod issue;
mod list;
mod rotate;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use lockbox_core::Clock;
use lockbox_platform::authority::{self, AUTHORITY_DAYS, AuthorityError, LEAF_DAYS, LEAF_DAYS_MAX};
use lockbox_platform::certificates::{CaFiles, CertificateError};
use lockbox_platform::system::SystemClock;
use lockbox_platform::tls::TlsError;

use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::supervise;

/// `lockbox cert`.
#[derive(Debug, Args)]
pub(crate) struct CertArgs {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: CertCommand,
}

/// Where the authority is.
#[derive(Debug, Args)]
struct Place {
    /// The directory of the authority: ca.pem, which everybody may have, and ca-key.pem, which
    /// belongs on no server.
    #[arg(long, global = true, value_name = "DIR", default_value = ".")]
    authority: PathBuf,
}

impl Place {
    fn files(&self) -> CaFiles {
        authority::ca_files(&self.authority)
    }
}

#[derive(Debug, Subcommand)]
enum CertCommand {
    /// Makes an authority.
    Init {
        /// How long it is valid.
        #[arg(long, value_name = "DAYS", default_value_t = AUTHORITY_DAYS,
            value_parser = clap::value_parser!(u64).range(1..=36_500))]
        days: u64,
    },
    /// Issues a certificate for a node, the KMS, an operator or a public name.
    Issue(issue::Issue),
    /// Issues certificates anew, with the names that they have and other keys: those of which less
    /// than a third of the life is left, or all.
    Rotate(rotate::Rotate),
    /// Replaces the authority, in two steps: everybody trusts both in between.
    RotateAuthority(rotate::RotateAuthority),
    /// Shows certificates, what they are for and when they end.
    List(list::List),
}

/// How long a certificate is to be valid.
#[derive(Debug, Args)]
struct LeafDays {
    /// How long it is valid. Servers' are refused by common clients when it is more than 397.
    #[arg(long, value_name = "DAYS", default_value_t = LEAF_DAYS,
        value_parser = clap::value_parser!(u64).range(1..=LEAF_DAYS_MAX))]
    days: u64,
}

/// Runs `lockbox cert`.
pub(crate) fn run(arguments: &CertArgs) -> Result<(), Failure> {
    // Keys are in memory for a moment.
    supervise::confine()?;
    let now_ms = SystemClock::new().wall_ms();
    let place = &arguments.place;
    let text = match &arguments.command {
        CertCommand::Init { days } => init(place, *days, now_ms),
        CertCommand::Issue(issue) => issue.run(place, now_ms),
        CertCommand::Rotate(rotate) => rotate.run(place, now_ms),
        CertCommand::RotateAuthority(rotate) => rotate.run(place, now_ms),
        CertCommand::List(list) => list.run(place, now_ms),
    };
    output::write(text?.as_bytes())
}

fn init(place: &Place, days: u64, now_ms: u64) -> Result<String, Failure> {
    let files =
        authority::create(&place.authority, days, now_ms).map_err(|error| failed(&error))?;
    let (certificate, key) = (files.certificate.display(), files.key.display());
    Ok(format!(
        "made {certificate}, which all servers and clients need, and {key}, which none of them \
         does: keep it in a safe place\n"
    ))
}

/// A failure in the words of the command line.
fn failed(error: &AuthorityError) -> Failure {
    let unreadable = match error {
        AuthorityError::Certificate(CertificateError::File { path, source })
        | AuthorityError::Read(TlsError::Read { path, source, .. }) => Some((path, source)),
        _ => None,
    };
    match unreadable {
        Some((path, source)) if source.kind() == ErrorKind::NotFound && is_of_authority(path) => {
            Failure::usage(format_args!(
                "there is no authority: {} is missing; make one with `lockbox cert init`, or say \
                 where it is with --authority",
                path.display()
            ))
        }
        Some(_) | None => Failure::usage(error),
    }
}

fn is_of_authority(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "ca.pem" || name == "ca-key.pem")
}

#[cfg(test)]
mod tests;

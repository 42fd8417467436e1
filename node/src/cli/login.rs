//! Logging in to a local cluster as its administrator.

use std::path::Path;

use lockbox_core::SensitiveString;
use lockbox_platform::authorized_key::AuthorizedKeyFile;
use lockbox_platform::tls::ClientTlsFiles;

use crate::cli::connect::{Connection, Credential, TryFlags};
use crate::cli::failure::{Exit, Failure};
use crate::cli::local::{Layout, local_address};
use crate::cli::session;

/// An IAM token of the administrator, from the first node that gives one.
pub(crate) fn log_in(layout: &Layout) -> Result<SensitiveString, Failure> {
    let path = layout.admin_key();
    let key = AuthorizedKeyFile::read(&path).map_err(Failure::usage)?;
    let mut last = Failure::usage("the cluster has no node");
    for (_, ports) in layout.nodes() {
        match log_in_at(layout, &key, ports.api) {
            Ok(token) => return Ok(token),
            Err(failure) => last = failure,
        }
    }
    match last.exit() {
        Exit::Refused => Err(replaced(&path, &last)),
        Exit::Usage | Exit::Unreachable | Exit::Internal | Exit::Server(_) => Err(last),
    }
}

/// Whoever gives the administrator another key does so beside the directory, and finds out here.
fn replaced(path: &Path, refusal: &Failure) -> Failure {
    let sentence = format_args!(
        "the key in {} is no longer the administrator's: put the one there that lockbox iam key \
         create or lockbox cluster recover-admin has written, and start again ({refusal})",
        path.display()
    );
    Failure::new(refusal.exit(), sentence)
}

fn log_in_at(
    layout: &Layout,
    key: &AuthorizedKeyFile,
    port: u16,
) -> Result<SensitiveString, Failure> {
    let files = ClientTlsFiles { ca: layout.ca(), identity: None };
    let (address, tries) = (local_address(port), TryFlags::of_program());
    let connection = Connection::new(&address, &files, None, Credential::None, &tries)?;
    Ok(session::token(&connection, key)?.token)
}

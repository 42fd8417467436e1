//! Logging in to a local cluster as its administrator.

use lockbox_core::SensitiveString;
use lockbox_platform::authorized_key::AuthorizedKeyFile;
use lockbox_platform::tls::ClientTlsFiles;

use crate::cli::connect::{Connection, Credential, TryFlags};
use crate::cli::failure::Failure;
use crate::cli::local::{Layout, local_address};
use crate::cli::session;

/// An IAM token of the administrator, from the first node that gives one.
pub(crate) fn log_in(layout: &Layout) -> Result<SensitiveString, Failure> {
    let mut last = Failure::usage("the cluster has no node");
    for (_, ports) in layout.nodes() {
        match log_in_at(layout, ports.api) {
            Ok(token) => return Ok(token),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

fn log_in_at(layout: &Layout, port: u16) -> Result<SensitiveString, Failure> {
    let key = AuthorizedKeyFile::read(&layout.admin_key()).map_err(Failure::usage)?;
    let files = ClientTlsFiles { ca: layout.ca(), identity: None };
    let (address, tries) = (local_address(port), TryFlags::of_program());
    let connection = Connection::new(&address, &files, None, Credential::None, &tries)?;
    Ok(session::token(&connection, &key)?.token)
}

//! The KMS: where it is, and who this node is to it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The name in the certificate of a KMS of ours.
const OWN_SERVER_NAME: &str = "kms.lockbox.internal";
/// What our own KMS makes at its first start.
const OWN_SYSTEM_KEY: &str = "abj00000000000system";
/// The authorities that the system trusts, where Debian, Alpine and their kin keep them.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The KMS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KmsConfig {
    /// `host:port` of the KMS; also what clients are told.
    pub address: String,
    /// File with an IAM token, for a KMS that is not ours: each call shows the token, and none says
    /// on whose behalf it is. Read anew for each call; nobody but its owner may read it.
    pub token_file: Option<PathBuf>,
    /// The name in the KMS's certificate. When absent, that of our own KMS; with a token, the host
    /// of the address.
    server_name: Option<String>,
    /// PEM file of the CA that signed it. When absent, the peer CA; with a token, those that the
    /// system trusts.
    ca: Option<PathBuf>,
    /// The key that `cluster init` wraps the keyring under.
    #[serde(default = "system_key_id")]
    pub system_key_id: String,
}

impl KmsConfig {
    /// The name that the KMS's certificate has to have.
    #[must_use]
    pub fn server_name(&self) -> &str {
        match (&self.server_name, &self.token_file) {
            (Some(name), _) => name,
            (None, Some(_)) => self.address.rsplit_once(':').map_or("", |(host, _)| host),
            (None, None) => OWN_SERVER_NAME,
        }
    }

    /// The file of its authority; none when it is that of the peers.
    #[must_use]
    pub fn ca(&self) -> Option<&Path> {
        let of_system = || self.token_file.as_ref().map(|_| Path::new(SYSTEM_AUTHORITIES));
        self.ca.as_deref().or_else(of_system)
    }
}

fn system_key_id() -> String {
    OWN_SYSTEM_KEY.to_owned()
}

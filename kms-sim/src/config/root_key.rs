//! Where the root key comes from.

use std::path::PathBuf;

use lockbox_core::Sensitive;
use lockbox_platform::config_file::WrongValue;
use serde::Deserialize;

use super::KmsConfig;
use crate::passphrase::PASSPHRASE_VARIABLE;
use crate::root_key::{ROOT_KEY_VARIABLE, RootKey, RootKeyError};
use crate::root_secret::{Passphrase, RootSecret};

/// Where the root key is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootKeyConfig {
    /// File that only the owner may read.
    pub file: Option<PathBuf>,
    /// File that only the owner may read, with a passphrase instead of a key. Without this and the
    /// other, `KMS_ROOT_KEY` or `KMS_ROOT_PASSPHRASE` counts.
    pub passphrase_file: Option<PathBuf>,
}

impl RootKeyConfig {
    /// Refuses what leaves open which one counts.
    pub(super) fn check(&self) -> Result<(), WrongValue> {
        if self.file.is_some() && self.passphrase_file.is_some() {
            let problem = "must name a file or a passphrase_file, not both";
            return Err(WrongValue { key: "root_key", problem });
        }
        Ok(())
    }
}

impl KmsConfig {
    /// The root key, or the passphrase for it: from the configured file, else from the environment.
    ///
    /// # Errors
    /// [`RootKeyError`].
    pub fn load_root_secret(
        &self,
        environment: &[(String, String)],
    ) -> Result<RootSecret, RootKeyError> {
        if let Some(file) = &self.root_key.file {
            return RootKey::read_file(file).map(RootSecret::Key);
        }
        if let Some(file) = &self.root_key.passphrase_file {
            return Passphrase::read_file(file).map(RootSecret::Passphrase);
        }
        let value = |wanted: &str| {
            let found = environment.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| Sensitive::new(value.clone()))
        };
        match (value(ROOT_KEY_VARIABLE), value(PASSPHRASE_VARIABLE)) {
            (Some(key), None) => RootKey::from_variable(&key).map(RootSecret::Key),
            (None, Some(words)) => Passphrase::from_variable(&words).map(RootSecret::Passphrase),
            (None, None) => Err(RootKeyError::Missing),
            (Some(_), Some(_)) => Err(RootKeyError::Ambiguous),
        }
    }
}

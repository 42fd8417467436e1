//! Where the root key comes from.

use std::path::PathBuf;

use lockbox_core::SensitiveString;
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

/// The root key or the passphrase as the environment gives it, taken out of our copy of that. Wiped
/// when dropped.
///
/// What the system has put into the process stays there: to remove a variable is `unsafe`, for
/// other threads may read it, and would wipe nothing. `docs/security.md` says what that means.
#[derive(Default)]
pub struct RootVariables {
    pub(super) key: Option<SensitiveString>,
    pub(super) passphrase: Option<SensitiveString>,
}

impl RootVariables {
    /// Takes them out of an environment, which is for everything else from then on.
    #[must_use]
    pub fn take_from(environment: &mut Vec<(String, String)>) -> Self {
        let mut take = |wanted: &str| {
            let place = environment.iter().position(|(name, _)| name == wanted)?;
            // The buffer itself moves: no copy is left behind.
            Some(SensitiveString::new(environment.swap_remove(place).1))
        };
        Self { key: take(ROOT_KEY_VARIABLE), passphrase: take(PASSPHRASE_VARIABLE) }
    }
}

impl KmsConfig {
    /// The root key, or the passphrase for it: from the configured file, else from the environment.
    ///
    /// # Errors
    /// [`RootKeyError`].
    pub fn load_root_secret(&self, variables: RootVariables) -> Result<RootSecret, RootKeyError> {
        if let Some(file) = &self.root_key.file {
            return RootKey::read_file(file).map(RootSecret::Key);
        }
        if let Some(file) = &self.root_key.passphrase_file {
            return Passphrase::read_file(file).map(RootSecret::Passphrase);
        }
        let RootVariables { key, passphrase } = variables;
        if key.is_some() || passphrase.is_some() {
            tracing::warn!(
                "the root key is in the environment, and stays in the memory of this process and \
                 of whatever has started it: root_key.file and root_key.passphrase_file do not"
            );
        }
        match (key, passphrase) {
            (Some(key), None) => RootKey::from_variable(&key).map(RootSecret::Key),
            (None, Some(words)) => Passphrase::from_variable(&words).map(RootSecret::Passphrase),
            (None, None) => Err(RootKeyError::Missing),
            (Some(_), Some(_)) => Err(RootKeyError::Ambiguous),
        }
    }
}

//! Which key a command is about: an id, or a name that is looked up in the folder.

use clap::Args;
use lockbox_core::KmsKeyId;

use crate::cli::failure::Failure;
use crate::cli::kms::connect::Kms;
use crate::cli::kms::read::all_keys;
use crate::cli::secret::target::{looks_like_id, the_only};

/// The key, named in one of three ways (`contract §11`).
#[derive(Debug, Args)]
#[group(id = "key_target", required = true, multiple = false)]
pub(crate) struct KeyTarget {
    /// The key's name or id; what looks like an id is taken for one.
    #[arg(value_name = "NAME_OR_ID")]
    key: Option<String>,
    /// The key's id.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// The key's name, which must be the only one in the folder.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl KeyTarget {
    /// The name to look up, when it is one.
    fn name(&self) -> Option<&str> {
        let is_name = |text: &&str| !looks_like_id(text, KmsKeyId::PREFIX);
        self.name.as_deref().or(self.key.as_deref().filter(is_name))
    }

    /// The key's id. A folder is needed only when a name must be looked up.
    pub(crate) async fn resolve(&self, kms: &Kms<'_>) -> Result<String, Failure> {
        let Some(name) = self.name() else {
            return Ok(self.id.as_ref().or(self.key.as_ref()).cloned().unwrap_or_default());
        };
        let folder = kms.context.folder()?.id(kms.node).await?;
        // Without a filter in the API, finding a name is reading the folder.
        let keys = all_keys(&kms.session, &folder, u64::MAX).await?;
        let named = keys.iter().filter(|key| key.name == name);
        the_only("symmetric key", name, &folder, named.map(|key| key.id.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_an_id_of_a_key_is_one() {
        let target = |key: &str| KeyTarget { key: Some(key.to_owned()), id: None, name: None };
        assert_eq!(target("abj0123456789abcdefg").name(), None);
        for name in ["db", "abj", "e6q0123456789abcdefg"] {
            assert_eq!(target(name).name(), Some(name));
        }
    }
}

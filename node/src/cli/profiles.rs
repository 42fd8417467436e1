//! Profiles: names for a server, who calls it and where, in a file of the user's.
//!
//! Promises: no secret is in the file, only the paths of files that hold one; what is not known is
//! refused with its line; the file changes as a whole or not at all. Flags and variables go before
//! a profile: [`super::settings`].

mod file;
mod key;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use file::{change, load, path};
pub(crate) use key::SettingKey;

/// Characters of a profile's name at most.
const NAME_CHARS_MAX: usize = 63;

/// What a profile says, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Profile(BTreeMap<SettingKey, String>);

impl Profile {
    /// With these values, which are taken as they are.
    pub(crate) fn of(values: impl IntoIterator<Item = (SettingKey, String)>) -> Self {
        Self(values.into_iter().collect())
    }

    /// The value; none when it is not set.
    pub(crate) fn get(&self, key: SettingKey) -> Option<&str> {
        self.0.get(&key).map(String::as_str)
    }

    /// Sets a value that `key` has accepted ([`SettingKey::accept`]). What this program had made is the
    /// user's from then on.
    pub(crate) fn set(&mut self, key: SettingKey, value: String) -> Result<(), String> {
        if let Some(other) = key.excludes().filter(|other| self.0.contains_key(other)) {
            return Err(format!(
                "it has {other} already, and {key} excludes that: lockbox config unset {other}"
            ));
        }
        self.0.insert(key, value);
        self.0.remove(&SettingKey::ManagedBy);
        Ok(())
    }

    /// Removes a value; says whether there was one.
    pub(crate) fn unset(&mut self, key: SettingKey) -> bool {
        self.0.remove(&SettingKey::ManagedBy);
        self.0.remove(&key).is_some()
    }

    /// The values, in the order of the keys.
    pub(crate) fn values(&self) -> impl Iterator<Item = (SettingKey, &str)> {
        self.0.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// What is wrong with it, if anything is. Quotes no value: it may be a secret in a wrong place.
    fn problem(&self) -> Option<String> {
        let wrong = |(key, value): (SettingKey, &str)| {
            key.problem(value).map(|problem| format!("{key} {problem}"))
        };
        let both = || {
            let excluded =
                |key: &SettingKey| key.excludes().filter(|other| self.0.contains_key(other));
            let (key, other) = self.0.keys().find_map(|key| Some((key, excluded(key)?)))?;
            Some(format!("{key} and {other} exclude each other"))
        };
        self.values().find_map(wrong).or_else(both)
    }
}

/// All profiles, and which one is taken when nobody names one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profiles {
    /// The active one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) active: Option<String>,
    /// By name.
    #[serde(default)]
    pub(crate) profiles: BTreeMap<String, Profile>,
}

impl Profiles {
    /// The profile with this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name)
    }

    fn problem(&self) -> Option<String> {
        self.profiles.iter().find_map(|(name, profile)| {
            profile.problem().map(|problem| format!("profile {name:?}: {problem}"))
        })
    }
}

/// Whether a profile may be named so.
pub(crate) fn check_name(name: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let good = !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.chars().all(allowed);
    if good {
        return Ok(name.to_owned());
    }
    Err(format!("a profile's name is 1 to {NAME_CHARS_MAX} letters, digits, dots, - and _"))
}

#[cfg(test)]
mod tests;

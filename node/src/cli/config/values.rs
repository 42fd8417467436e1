//! `lockbox config set`, `unset`, `get` and `list`.

use std::path::Path;

use clap::Args;

use crate::cli::environment::Environment;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output;
use crate::cli::profiles::{self, Profile, Profiles, SettingKey};
use crate::cli::settings::{self, PROFILE_VARIABLE};

/// The profile that is made when a value is set and there is none.
const FIRST_PROFILE: &str = "default";

/// A value to set.
#[derive(Debug, Args)]
pub(super) struct Set {
    /// What to set.
    key: SettingKey,
    /// Its value; a relative path is kept as an absolute one.
    value: String,
}

/// A value to remove.
#[derive(Debug, Args)]
pub(super) struct Unset {
    /// What to remove.
    key: SettingKey,
}

/// A value to print.
#[derive(Debug, Args)]
pub(super) struct Get {
    /// What to print.
    key: SettingKey,
}

impl Set {
    /// Sets it.
    pub(super) fn run(
        self,
        file: &Path,
        flag: Option<&str>,
        environment: &Environment,
    ) -> Result<String, Failure> {
        let value = self.key.accept(&self.value).map_err(Failure::usage)?;
        profiles::change(file, |known| {
            let name = named(known, flag, environment);
            let name = name.unwrap_or_else(|| {
                known.profiles.entry(FIRST_PROFILE.to_owned()).or_default();
                known.active = Some(FIRST_PROFILE.to_owned());
                FIRST_PROFILE.to_owned()
            });
            let set = profile(known, &name)?.set(self.key, value);
            set.map_err(|problem| Failure::usage(format_args!("profile {name:?}: {problem}")))?;
            Ok(format!("profile {name}: {} is set\n", self.key))
        })
    }
}

impl Unset {
    /// Removes it.
    pub(super) fn run(
        self,
        file: &Path,
        flag: Option<&str>,
        environment: &Environment,
    ) -> Result<String, Failure> {
        profiles::change(file, |known| {
            let name = named(known, flag, environment).ok_or_else(none_active)?;
            let was = profile(known, &name)?.unset(self.key);
            let said = if was { "is removed" } else { "was not set" };
            Ok(format!("profile {name}: {} {said}\n", self.key))
        })
    }
}

impl Get {
    /// Prints it.
    pub(super) fn run(
        self,
        flag: Option<&str>,
        environment: &Environment,
    ) -> Result<String, Failure> {
        let (name, profile) = settings::chosen(flag, environment)?.ok_or_else(none_active)?;
        let value = profile.get(self.key).ok_or_else(|| {
            let key = self.key;
            let sentence = format_args!("{key} is not set in profile {name:?}: lockbox config set");
            Failure::new(Exit::Usage, sentence)
        })?;
        Ok(format!("{value}\n"))
    }
}

/// Prints all values, and says which variables go before them.
pub(super) fn list(flag: Option<&str>, environment: &Environment) -> Result<String, Failure> {
    let (name, profile) = settings::chosen(flag, environment)?.ok_or_else(none_active)?;
    for setting in settings::ALL {
        if environment.get(setting.variable).is_some() {
            let (variable, key) = (setting.variable, setting.key);
            output::note(format_args!("{variable} is set and goes before {key} of {name}"));
        }
    }
    output::yaml(&profile)
}

/// The name of the profile that is meant.
fn named(known: &Profiles, flag: Option<&str>, environment: &Environment) -> Option<String> {
    let named = flag.or_else(|| environment.get(PROFILE_VARIABLE));
    named.or(known.active.as_deref()).map(ToOwned::to_owned)
}

fn profile<'k>(known: &'k mut Profiles, name: &str) -> Result<&'k mut Profile, Failure> {
    known.profiles.get_mut(name).ok_or_else(|| settings::no_profile(name))
}

fn none_active() -> Failure {
    Failure::usage(
        "no profile is active: lockbox config profile activate takes one, lockbox config set makes \
         one",
    )
}

//! What no flag says: the environment, then the profile.
//!
//! Owns the one order of precedence: flag, variable, profile, default. What is missing is named
//! together with the three ways to give it.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::environment::Environment;
use crate::cli::failure::Failure;
use crate::cli::output::Format;
use crate::cli::profiles::{self, Profile, SettingKey};

/// Names the profile.
pub(crate) const PROFILE_VARIABLE: &str = "LOCKBOX_PROFILE";

/// A setting, and where it may be said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    what: &'static str,
    flag: &'static str,
    /// The variable.
    pub(crate) variable: &'static str,
    /// The key in a profile.
    pub(crate) key: SettingKey,
}

/// The server.
pub(crate) const ENDPOINT: Setting = Setting {
    what: "server",
    flag: "--endpoint",
    variable: "LOCKBOX_ENDPOINT",
    key: SettingKey::Endpoint,
};
/// The KMS.
pub(crate) const KMS_ENDPOINT: Setting = Setting {
    what: "KMS",
    flag: "--kms-endpoint",
    variable: "LOCKBOX_KMS_ENDPOINT",
    key: SettingKey::KmsEndpoint,
};
/// The authorities to trust.
pub(crate) const CA: Setting = Setting {
    what: "certificate authority",
    flag: "--ca",
    variable: "LOCKBOX_CA",
    key: SettingKey::Ca,
};
/// The key to log in with.
pub(crate) const SA_KEY: Setting = Setting {
    what: "authorized key",
    flag: "--sa-key",
    variable: "LOCKBOX_SA_KEY",
    key: SettingKey::SaKey,
};
/// A token. The variable has the token itself, flag and key name a file with it.
pub(crate) const TOKEN: Setting = Setting {
    what: "token",
    flag: "--token-file",
    variable: "LOCKBOX_TOKEN",
    key: SettingKey::TokenFile,
};
/// The cloud.
pub(crate) const CLOUD: Setting = Setting {
    what: "cloud",
    flag: "--cloud-id",
    variable: "LOCKBOX_CLOUD_ID",
    key: SettingKey::CloudId,
};
/// The folder.
pub(crate) const FOLDER: Setting = Setting {
    what: "folder",
    flag: "--folder-id",
    variable: "LOCKBOX_FOLDER_ID",
    key: SettingKey::FolderId,
};
/// How answers are printed.
pub(crate) const FORMAT: Setting = Setting {
    what: "format",
    flag: "--format",
    variable: "LOCKBOX_FORMAT",
    key: SettingKey::Format,
};

/// All of them.
pub(crate) const ALL: [Setting; 8] =
    [ENDPOINT, KMS_ENDPOINT, CA, SA_KEY, TOKEN, CLOUD, FOLDER, FORMAT];

/// The environment and the chosen profile.
pub(crate) struct Settings<'a> {
    environment: &'a Environment,
    profile: Profile,
}

impl<'a> Settings<'a> {
    /// Takes the profile that the flag names, or the variable, or the file; else none.
    pub(crate) fn load(flag: Option<&str>, environment: &'a Environment) -> Result<Self, Failure> {
        let profile = match chosen(flag, environment)? {
            Some((_, profile)) => profile,
            None => Profile::default(),
        };
        Ok(Self { environment, profile })
    }

    /// Nothing but the environment.
    pub(crate) fn without_profile(environment: &'a Environment) -> Self {
        Self { environment, profile: Profile::default() }
    }

    /// The variable of the setting alone.
    pub(crate) fn variable(&self, setting: Setting) -> Option<&str> {
        self.environment.get(setting.variable)
    }

    /// The profile's key alone.
    pub(crate) fn profile(&self, setting: Setting) -> Option<&str> {
        self.profile.get(setting.key)
    }

    /// The setting, whose flag says this.
    pub(crate) fn get<'s>(&'s self, setting: Setting, flag: Option<&'s str>) -> Option<&'s str> {
        let flag = flag.filter(|value| !value.is_empty());
        flag.or_else(|| self.variable(setting)).or_else(|| self.profile(setting))
    }

    /// The same; it must be somewhere.
    pub(crate) fn require(&self, setting: Setting, flag: Option<&str>) -> Result<String, Failure> {
        self.get(setting, flag).map(ToOwned::to_owned).ok_or_else(|| missing(setting))
    }

    /// The same, for a file.
    pub(crate) fn require_file(
        &self,
        setting: Setting,
        flag: Option<&PathBuf>,
    ) -> Result<PathBuf, Failure> {
        let other = || self.get(setting, None).map(PathBuf::from);
        flag.cloned().or_else(other).ok_or_else(|| missing(setting))
    }

    /// How answers are printed.
    pub(crate) fn format(&self, flag: Option<Format>) -> Result<Format, Failure> {
        if let Some(format) = flag {
            return Ok(format);
        }
        let Some(text) = self.get(FORMAT, None) else { return Ok(Format::Text) };
        // The profile's was looked at when it was read.
        Format::from_str(text, false).map_err(|_unknown| {
            let (variable, names) = (FORMAT.variable, Format::names());
            Failure::usage(format_args!("{variable} is none of {names}"))
        })
    }
}

/// The profile that the flag names, or the variable, or the file, with its name.
pub(crate) fn chosen(
    flag: Option<&str>,
    environment: &Environment,
) -> Result<Option<(String, Profile)>, Failure> {
    let named = flag.or_else(|| environment.get(PROFILE_VARIABLE));
    let Some(path) = profiles::path(environment) else {
        return match named {
            None => Ok(None),
            Some(_) => Err(no_file()),
        };
    };
    let known = profiles::load(&path)?;
    let Some(name) = named.or(known.active.as_deref()) else { return Ok(None) };
    let profile = known.named(name).ok_or_else(|| no_profile(name))?;
    Ok(Some((name.to_owned(), profile.clone())))
}

/// There is nowhere to keep profiles.
pub(crate) fn no_file() -> Failure {
    Failure::usage("profiles have no file: set LOCKBOX_CONFIG, XDG_CONFIG_HOME or HOME")
}

/// A profile that is not there.
pub(crate) fn no_profile(name: &str) -> Failure {
    Failure::usage(format_args!(
        "there is no profile {name:?}: lockbox config profile list shows those that there are, \
         lockbox config profile create makes one"
    ))
}

fn missing(setting: Setting) -> Failure {
    let Setting { what, flag, variable, key } = setting;
    Failure::usage(format_args!(
        "the {what} is not known: give {flag}, set {variable}, or keep it in a profile with \
         lockbox config set {key}"
    ))
}

#[cfg(test)]
mod tests;

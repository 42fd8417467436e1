//! The keys of a profile, and what each of them takes.

use std::fmt;
use std::path::Path;

use clap::ValueEnum;
use lockbox_platform::tls;
use serde::{Deserialize, Serialize};

use crate::cli::output::Format;

/// A key of a profile, named like the flag that goes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SettingKey {
    /// The server, as host:port.
    Endpoint,
    /// The KMS, as host:port, when it is another than the server names.
    KmsEndpoint,
    /// PEM file of the certificate authorities to trust.
    Ca,
    /// Authorized key of a service account, in JSON, to log in with.
    #[value(alias = "service-account-key")]
    SaKey,
    /// File with an IAM token.
    TokenFile,
    /// The cloud to look up names of folders in.
    CloudId,
    /// The folder to create, list and look up names in.
    FolderId,
    /// How answers are printed: text, yaml, json, json-rest.
    Format,
    /// Who writes this profile over: `lockbox dev` its own one, until somebody changes it.
    #[value(skip)]
    ManagedBy,
}

impl fmt::Display for SettingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Endpoint => "endpoint",
            Self::KmsEndpoint => "kms-endpoint",
            Self::Ca => "ca",
            Self::SaKey => "sa-key",
            Self::TokenFile => "token-file",
            Self::CloudId => "cloud-id",
            Self::FolderId => "folder-id",
            Self::Format => "format",
            Self::ManagedBy => "managed-by",
        })
    }
}

impl SettingKey {
    /// The key that a profile cannot have beside this one.
    pub(crate) const fn excludes(self) -> Option<Self> {
        match self {
            Self::SaKey => Some(Self::TokenFile),
            Self::TokenFile => Some(Self::SaKey),
            _ => None,
        }
    }

    const fn is_file(self) -> bool {
        matches!(self, Self::Ca | Self::SaKey | Self::TokenFile)
    }

    /// What is wrong with a value in the file, without quoting it.
    pub(crate) fn problem(self, value: &str) -> Option<String> {
        if value.is_empty() {
            return Some("is empty".to_owned());
        }
        match self {
            Self::Endpoint | Self::KmsEndpoint if tls::endpoint(value, None).is_err() => {
                Some("is not host:port".to_owned())
            }
            Self::Format if Format::from_str(value, false).is_err() => {
                Some(format!("is none of {}", Format::names()))
            }
            key if key.is_file() && !Path::new(value).is_absolute() => {
                Some("is not an absolute path".to_owned())
            }
            _ => None,
        }
    }

    /// The value to keep for what the user has typed: of a file the absolute path. It must be
    /// there, so that nobody keeps a token where the path of its file belongs.
    pub(crate) fn accept(self, typed: &str) -> Result<String, String> {
        let value = if self.is_file() {
            let path = Path::new(typed);
            let there = std::fs::metadata(path).and_then(|_| std::path::absolute(path));
            let path = there.map_err(|error| format!("{self} names no file: {error}"))?;
            let text = path.into_os_string().into_string();
            text.map_err(|_not_text| format!("{self} names a file whose path is not text"))?
        } else {
            typed.to_owned()
        };
        match self.problem(&value) {
            None => Ok(value),
            Some(problem) => Err(format!("{self} {problem}")),
        }
    }
}

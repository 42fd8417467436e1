//! The static policy file: tokens and their roles, for a KMS that runs without a cluster.
//!
//! Holds hashes, so that reading the file gives no token. Comparison takes the same time wherever
//! the hashes differ.

use std::path::{Path, PathBuf};

use lockbox_core::{ResourceRef, SensitiveString, Subject, SubjectKind};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::grants::parse_resource_kind;
use super::introspect::Introspected;
use crate::caller::{Grant, Rights};
use lockbox_platform::config_file::one_line;

/// A policy.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    tokens: Vec<([u8; 32], Introspected)>,
}

/// Why there is no policy; one sentence.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("cannot read the policy {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no policy.
    #[error("policy {path} is wrong: {problem}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    #[serde(default)]
    folder: Vec<FolderEntry>,
    #[serde(default)]
    token: Vec<TokenEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FolderEntry {
    id: String,
    #[serde(default)]
    cloud_id: String,
    #[serde(default)]
    organization_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    /// SHA-256 of the token, in hex.
    sha256: String,
    subject_type: String,
    subject_id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    roles: Vec<RoleEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleEntry {
    role: String,
    resource_type: String,
    resource_id: String,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| PolicyError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|problem| PolicyError::Parse { path: path.to_owned(), problem })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: PolicyFile = toml::from_str(text).map_err(|error| one_line(text, &error))?;
        let mut folders = Rights::default();
        for folder in &file.folder {
            folders.add_folder(&folder.id, &folder.cloud_id, &folder.organization_id);
        }
        let tokens = file.token.into_iter().map(|token| token.resolve(&folders));
        Ok(Self { tokens: tokens.collect::<Result<_, _>>()? })
    }

    /// Who a token stands for, if the policy names it.
    #[must_use]
    pub fn find(&self, token: &SensitiveString) -> Option<&Introspected> {
        let hash: [u8; 32] = Sha256::digest(token.expose().as_bytes()).into();
        let mut found = None;
        for (known, subject) in &self.tokens {
            if bool::from(known.ct_eq(&hash)) {
                found = Some(subject);
            }
        }
        found
    }
}

impl TokenEntry {
    fn resolve(self, folders: &Rights) -> Result<([u8; 32], Introspected), String> {
        let subject_id = self.subject_id;
        let mut hash = [0; 32];
        hex::decode_to_slice(&self.sha256, &mut hash)
            .map_err(|_| format!("sha256 of {subject_id} is not 64 hex digits"))?;
        let kind = SubjectKind::parse(&self.subject_type)
            .ok_or_else(|| format!("{} is no subject type", self.subject_type))?;
        let mut rights = folders.clone();
        for RoleEntry { role, resource_type, resource_id } in self.roles {
            let kind = parse_resource_kind(&resource_type)
                .ok_or_else(|| format!("{resource_type} is no resource type"))?;
            if lockbox_core::Role::parse(&role).is_none() {
                return Err(format!("{role} is no role"));
            }
            let resource = ResourceRef::new(kind, &resource_id);
            rights.grants.push(Grant { resource, role_id: role });
        }
        let subject = Subject { kind, id: subject_id };
        let found = Introspected {
            subject,
            subject_name: self.name,
            token_id: String::new(),
            borrowed: false,
            rights,
        };
        Ok((hash, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
        [[folder]]
        id = "f"
        cloud_id = "c"
        [[token]]
        sha256 = "HASH"
        subject_type = "serviceAccount"
        subject_id = "a"
        [[token.roles]]
        role = "kms.admin"
        resource_type = "resource-manager.cloud"
        resource_id = "c"
    "#;

    fn policy(text: &str) -> Result<Policy, String> {
        Policy::parse(&text.replace("HASH", &hex::encode(Sha256::digest(b"t0ken"))))
    }

    #[test]
    fn a_token_is_found_by_its_hash() {
        let policy = policy(POLICY).unwrap();
        let find = |token: &str| policy.find(&SensitiveString::new(token.to_owned())).cloned();
        let found = find("t0ken").unwrap();
        assert_eq!(found.subject.id, "a");
        assert_eq!(found.rights.grants.len(), 1);
        assert!(found.rights.folders.contains_key("f"));
        assert_eq!(find("t0kem"), None);
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = |from: &str, to: &str| policy(&POLICY.replace(from, to)).unwrap_err();
        assert!(wrong("kms.admin", "kms.god").contains("kms.god is no role"));
        assert!(wrong("resource-manager.cloud", "cloud").contains("cloud is no resource type"));
        assert!(wrong("HASH", "12").contains("not 64 hex digits"));
        assert!(wrong("serviceAccount", "robot").contains("robot is no subject type"));
        assert!(wrong("subject_id", "subjectid").contains("subjectid"));
    }
}

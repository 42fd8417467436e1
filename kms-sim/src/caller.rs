//! Who calls, and what they may do: the outcome of authentication, judged on keys and folders.
//!
//! Promises: rights come only from the grants that arrived with this very call and from the key's
//! own bindings in the view that is judged; the system key is for nodes in their own name, and
//! nodes in their own name have nothing else.

use std::collections::BTreeMap;
use std::convert::Infallible;

use lockbox_core::access::covers;
use lockbox_core::{
    AccessQuery, CloudId, FolderId, OrganizationId, Permission, ResourcePath, ResourceRef, Role,
    Subject, SubjectKind, is_allowed,
};

use crate::store::records::{FolderPath, KeyBinding, KeyBindings, KeyRecord, KeyScope};

/// A role of the caller on a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Where it is bound.
    pub resource: ResourceRef,
    /// Which role.
    pub role_id: String,
}

/// What the caller may do, as the cluster or the policy file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// All roles of the caller.
    pub grants: Vec<Grant>,
    /// The folders that the grants reach, with their ancestors.
    pub folders: BTreeMap<String, FolderPath>,
}

/// By which id a node's retry of a crypto call is recognised: 16 or 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsRequestId(Vec<u8>);

impl KmsRequestId {
    /// Takes 16 or 32 bytes as an id.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        matches!(bytes.len(), 16 | 32).then_some(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// How the caller was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// A node, in its own name.
    Node {
        /// The name in its certificate.
        name: String,
    },
    /// A node, on behalf of the subject.
    Assertion {
        /// The name in the node's certificate.
        node: String,
        /// By which id a retry is recognised.
        kms_request_id: Option<KmsRequestId>,
    },
    /// The subject itself, with a token.
    Token,
    /// An operator, by a certificate; for the operators' service alone.
    Operator,
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who calls.
    pub subject: Subject,
    /// Its name, for the audit.
    pub subject_name: String,
    /// Public id of its token, for the audit; empty when there is none.
    pub token_id: String,
    /// Whether its token was made for it by another account: such a token makes no bindings, for
    /// they would outlive it.
    pub borrowed: bool,
    /// How it was recognised.
    pub via: Via,
    /// What it may do.
    pub rights: Rights,
}

impl Caller {
    /// A node in its own name.
    #[must_use]
    pub fn node(name: &str) -> Self {
        Self {
            subject: Subject { kind: SubjectKind::System, id: name.to_owned() },
            subject_name: name.to_owned(),
            token_id: String::new(),
            borrowed: false,
            via: Via::Node { name: name.to_owned() },
            rights: Rights::default(),
        }
    }

    /// An operator, by the name in its certificate.
    #[must_use]
    pub fn operator(name: &str) -> Self {
        Self { via: Via::Operator, ..Self::node(name) }
    }

    /// The node that speaks, if one does.
    #[must_use]
    pub fn node_name(&self) -> Option<&str> {
        match &self.via {
            Via::Node { name } => Some(name),
            Via::Assertion { node, .. } => Some(node),
            Via::Token | Via::Operator => None,
        }
    }

    /// Whether the caller has the permission on a key by a role that came with the call.
    #[must_use]
    pub fn may(&self, permission: Permission, key: &KeyRecord) -> bool {
        match (key.scope, &self.via) {
            (KeyScope::System, Via::Node { .. }) => matches!(
                permission,
                Permission::KmsKeysGet | Permission::KmsKeysEncrypt | Permission::KmsKeysDecrypt
            ),
            (KeyScope::System, Via::Assertion { .. } | Via::Token | Via::Operator)
            | (KeyScope::Customer, Via::Node { .. } | Via::Operator) => false,
            (KeyScope::Customer, Via::Assertion { .. } | Via::Token) => {
                self.granted(permission, &key.resources())
            }
        }
    }

    /// Whether the caller has the permission on a key by one of the bindings of the key itself.
    #[must_use]
    pub fn may_by(&self, bindings: &KeyBindings, permission: Permission, key: &KeyRecord) -> bool {
        let by_roles = match (key.scope, &self.via) {
            (KeyScope::Customer, Via::Assertion { .. } | Via::Token) => true,
            (KeyScope::Customer, Via::Node { .. } | Via::Operator) | (KeyScope::System, _) => false,
        };
        let gives = |binding: &KeyBinding| {
            let role = Role::parse(&binding.role_id);
            role.is_some_and(|role| role.grants(permission))
                && covers(&binding.subject, &self.subject)
        };
        by_roles && bindings.bindings.iter().any(gives)
    }

    /// Whether a node speaks for the caller: only then may it ask to attach a key to a resource.
    #[must_use]
    pub const fn is_asserted(&self) -> bool {
        matches!(self.via, Via::Assertion { .. })
    }

    /// Whether the caller has the permission on a folder.
    #[must_use]
    pub fn may_in(&self, permission: Permission, folder: &FolderPath) -> bool {
        match self.via {
            Via::Node { .. } | Via::Operator => false,
            Via::Assertion { .. } | Via::Token => self.granted(permission, &folder.resources()),
        }
    }

    /// Whether some role of the caller grants the permission, wherever it is bound.
    #[must_use]
    pub fn has_anywhere(&self, permission: Permission) -> bool {
        let grants =
            |grant: &Grant| Role::parse(&grant.role_id).map(|role| role.grants(permission));
        self.rights.grants.iter().any(|grant| grants(grant) == Some(true))
    }

    /// The folder with its ancestors, if the caller's grants reach it.
    #[must_use]
    pub fn folder(&self, id: &FolderId) -> Option<&FolderPath> {
        self.rights.folders.get(id.as_str())
    }

    fn granted(&self, permission: Permission, path: &ResourcePath) -> bool {
        let query = AccessQuery { subject: &self.subject, permission, path };
        let Ok(decision) = is_allowed(query, |resource| {
            // The grants are the subject's own, groups and system sets resolved by their sender.
            let bound = self.rights.grants.iter().filter(|grant| grant.resource == *resource);
            let bindings = bound.map(|grant| (grant.role_id.clone(), self.subject.clone()));
            Ok::<_, Infallible>(bindings.collect())
        });
        decision.allowed()
    }
}

impl Rights {
    /// Adds a folder with its ancestors; an unreadable id is as if it were not there.
    pub fn add_folder(&mut self, folder_id: &str, cloud_id: &str, organization_id: &str) {
        if let Ok(folder_id) = FolderId::parse(folder_id) {
            let path = FolderPath {
                folder_id,
                cloud_id: CloudId::parse(cloud_id).ok(),
                organization_id: OrganizationId::parse(organization_id).ok(),
            };
            self.folders.insert(path.folder_id.as_str().to_owned(), path);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use lockbox_core::{KmsKeyId, KmsKeyVersionId, LogTime, ResourceKind};

    use super::*;
    use crate::algorithm::Algorithm;
    use crate::store::records::KeyStatus;

    pub(crate) fn caller(via: Via, grants: &[(ResourceKind, &str, &str)]) -> Caller {
        let mut rights = Rights::default();
        rights.add_folder("folder", "cloud", "organization");
        rights.grants = grants
            .iter()
            .map(|(kind, id, role)| Grant {
                resource: ResourceRef::new(*kind, id),
                role_id: (*role).to_owned(),
            })
            .collect();
        let subject = Subject { kind: SubjectKind::ServiceAccount, id: "sa".to_owned() };
        Caller {
            subject,
            subject_name: String::new(),
            token_id: String::new(),
            borrowed: false,
            via,
            rights,
        }
    }

    fn key(scope: KeyScope) -> KeyRecord {
        KeyRecord {
            id: KmsKeyId::parse("key").unwrap(),
            scope,
            path: FolderPath {
                folder_id: FolderId::parse("folder").unwrap(),
                cloud_id: CloudId::parse("cloud").ok(),
                organization_id: OrganizationId::parse("organization").ok(),
            },
            created_at: LogTime::default(),
            name: String::new(),
            description: String::new(),
            labels: BTreeMap::new(),
            status: KeyStatus::Active,
            primary_version_id: KmsKeyVersionId::parse("v").unwrap(),
            default_algorithm: Algorithm::Aes256,
            rotated_at: LogTime::default(),
            rotation_period_ms: None,
            deletion_protection: false,
            revision: 1,
            deletion: None,
            bindings_revision: 0,
        }
    }

    #[test]
    fn roles_are_inherited_from_organization_cloud_folder_and_key() {
        let key = key(KeyScope::Customer);
        for (kind, id) in [
            (ResourceKind::Organization, "organization"),
            (ResourceKind::Cloud, "cloud"),
            (ResourceKind::Folder, "folder"),
            (ResourceKind::KmsKey, "key"),
        ] {
            let decrypter = caller(Via::Token, &[(kind, id, "kms.keys.decrypter")]);
            assert!(decrypter.may(Permission::KmsKeysDecrypt, &key), "{id}");
            assert!(!decrypter.may(Permission::KmsKeysEncrypt, &key), "{id}");
        }
        let elsewhere = caller(Via::Token, &[(ResourceKind::Folder, "other", "kms.admin")]);
        assert!(!elsewhere.may(Permission::KmsKeysDecrypt, &key));
        // A role bound on a secret has no effect on a key (`contract §4.5`).
        let secret = caller(Via::Token, &[(ResourceKind::Secret, "key", "kms.admin")]);
        assert!(!secret.may(Permission::KmsKeysDecrypt, &key));
    }

    #[test]
    fn the_system_key_is_for_nodes_alone_and_nodes_have_nothing_else() {
        let everything =
            [(ResourceKind::Folder, "folder", "admin"), (ResourceKind::KmsKey, "key", "admin")];
        let (system, customer) = (key(KeyScope::System), key(KeyScope::Customer));
        let assertion = Via::Assertion { node: "node-1".to_owned(), kms_request_id: None };
        for via in [Via::Token, assertion] {
            let admin = caller(via, &everything);
            assert!(admin.may(Permission::KmsKeysDecrypt, &customer));
            assert!(!admin.may(Permission::KmsKeysDecrypt, &system));
        }
        let bound = |id: &str| {
            let subject = Subject { kind: SubjectKind::System, id: id.to_owned() };
            let binding = KeyBinding { role_id: "kms.admin".to_owned(), subject };
            KeyBindings { bindings: [binding].into() }
        };
        let (everybody, permission) = (bound("allUsers"), Permission::KmsKeysDecrypt);
        let nobody = caller(Via::Token, &[]);
        assert!(nobody.may_by(&everybody, permission, &customer));
        assert!(!nobody.may_by(&everybody, permission, &system));
        assert!(!nobody.may_by(&bound("internal"), permission, &customer));
        for own in [Caller::node("node-1"), Caller::operator("operator")] {
            assert!(!own.may_by(&everybody, permission, &customer));
            assert!(!own.may_by(&everybody, permission, &system));
        }
        assert!(!Caller::operator("operator").may(permission, &system));
        let node = Caller::node("node-1");
        assert!(node.may(Permission::KmsKeysDecrypt, &system));
        assert!(!node.may(Permission::KmsKeysUpdate, &system));
        assert!(!node.may(Permission::KmsKeysDecrypt, &customer));
        assert!(!node.may_in(Permission::KmsKeysList, &customer.path));
    }
}

//! The role table: which role grants which permission (`contract §4.2`–`§4.4`).
//!
//! The table is data; [`crate::access`] evaluates it. A role not listed here does not exist.

use crate::resource::ResourceKind;

macro_rules! permissions {
    ($( $(#[$doc:meta])* $variant:ident = $name:literal, )*) => {
        /// One thing that a caller may be allowed to do. Names follow `contract §4.3`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Permission { $( $(#[$doc])* $variant, )* }

        impl Permission {
            /// Every permission.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            /// The name that people ask for it by.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $name, )* }
            }
        }
    };
}

permissions! {
    /// Read a secret's metadata, versions and operations.
    SecretsGet = "secrets.get",
    /// List a folder's secrets.
    SecretsList = "secrets.list",
    /// List the bindings of a secret.
    SecretsListAccessBindings = "secrets.listAccessBindings",
    /// Create a secret in a folder.
    SecretsCreate = "secrets.create",
    /// Change, activate or deactivate a secret.
    SecretsUpdate = "secrets.update",
    /// Delete a secret.
    SecretsDelete = "secrets.delete",
    /// Add a version.
    VersionsAdd = "versions.add",
    /// Move the current pointer.
    VersionsSetCurrent = "versions.setCurrent",
    /// Schedule a version's destruction or cancel it.
    VersionsDestroy = "versions.destroy",
    /// Read a payload.
    PayloadGet = "payload.get",
    /// Change the bindings of a secret.
    SecretsSetAccessBindings = "secrets.setAccessBindings",
    /// Read a KMS key, its versions and operations.
    KmsKeysGet = "kms.keys.get",
    /// List a folder's KMS keys.
    KmsKeysList = "kms.keys.list",
    /// List the bindings of a KMS key.
    KmsKeysListAccessBindings = "kms.keys.listAccessBindings",
    /// Attach a KMS key to a resource.
    KmsKeysUse = "kms.keys.use",
    /// Encrypt, generate data keys, be the target of re-encryption.
    KmsKeysEncrypt = "kms.keys.encrypt",
    /// Decrypt, be the source of re-encryption.
    KmsKeysDecrypt = "kms.keys.decrypt",
    /// Create a KMS key in a folder.
    KmsKeysCreate = "kms.keys.create",
    /// Change a KMS key's attributes and rotate it.
    KmsKeysUpdate = "kms.keys.update",
    /// Activate or deactivate a KMS key (`contract §13` no. 38: kms.admin only).
    KmsKeysSetStatus = "kms.keys.setStatus",
    /// Change the primary version, destroy versions, delete a KMS key.
    KmsKeysAdminister = "kms.keys.administer",
    /// Change the bindings of a KMS key.
    KmsKeysSetAccessBindings = "kms.keys.setAccessBindings",
    /// Read service accounts and their authorized keys.
    ServiceAccountsGet = "serviceAccounts.get",
    /// Create, change, suspend and delete service accounts and their keys.
    ServiceAccountsAdminister = "serviceAccounts.administer",
    /// Make an IAM token for a service account.
    ServiceAccountsCreateToken = "serviceAccounts.createToken",
    /// Read a folder's or cloud's metadata and bindings.
    ResourceManagerGet = "resourceManager.get",
    /// Create clouds and folders; change the bindings of a cloud, folder or service account.
    ResourceManagerAdminister = "resourceManager.administer",
}

impl Permission {
    /// Reads a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|permission| permission.as_str() == name)
    }

    /// Whether it is for keys of the KMS, which have bindings of their own there.
    #[must_use]
    pub fn is_of_keys(self) -> bool {
        self.as_str().starts_with(OF_KEYS)
    }

    /// Whether the permission is ever asked for on a resource of this kind that has none in it.
    fn is_asked_on(self, leaf: ResourceKind) -> bool {
        let services: &[&str] = match leaf {
            ResourceKind::Secret => &["secrets.", "versions.", "payload."],
            ResourceKind::SecretVersion => &["payload."],
            ResourceKind::KmsKey => &[OF_KEYS],
            ResourceKind::ServiceAccount => &["serviceAccounts."],
            ResourceKind::Organization | ResourceKind::Cloud | ResourceKind::Folder => &[],
        };
        services.iter().any(|service| self.as_str().starts_with(service))
    }
}

/// What the names of permissions on keys begin with.
const OF_KEYS: &str = "kms.keys.";

use Permission as P;

const LOCKBOX_VIEWER: &[P] =
    &[P::SecretsGet, P::SecretsList, P::SecretsListAccessBindings, P::ResourceManagerGet];
const LOCKBOX_EDITOR: &[P] = &[
    P::SecretsCreate,
    P::SecretsUpdate,
    P::SecretsDelete,
    P::VersionsAdd,
    P::VersionsSetCurrent,
    P::VersionsDestroy,
];
const LOCKBOX_PAYLOAD: &[P] = &[P::PayloadGet];
const LOCKBOX_ADMIN: &[P] = &[P::SecretsSetAccessBindings];

const KMS_VIEWER: &[P] =
    &[P::KmsKeysGet, P::KmsKeysList, P::KmsKeysListAccessBindings, P::ResourceManagerGet];
const KMS_USER: &[P] = &[P::KmsKeysGet, P::KmsKeysList, P::KmsKeysUse];
const KMS_ENCRYPTER: &[P] = &[P::KmsKeysGet, P::KmsKeysEncrypt];
const KMS_DECRYPTER: &[P] = &[P::KmsKeysGet, P::KmsKeysDecrypt];
const KMS_EDITOR: &[P] = &[P::KmsKeysCreate, P::KmsKeysUpdate];
const KMS_ADMIN: &[P] = &[P::KmsKeysSetStatus, P::KmsKeysAdminister, P::KmsKeysSetAccessBindings];

const IAM_VIEWER: &[P] = &[P::ServiceAccountsGet];
const IAM_EDITOR: &[P] = &[P::ServiceAccountsAdminister];
const IAM_ADMIN: &[P] = &[P::ServiceAccountsCreateToken, P::ResourceManagerAdminister];

macro_rules! roles {
    ($( $(#[$doc:meta])* $variant:ident = $name:literal : $( $set:ident ),+ ; )*) => {
        /// A role that can be bound to a subject.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Role { $( $(#[$doc])* $variant, )* }

        impl Role {
            /// Every role, in the order of `contract §4.2`.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            /// The role id on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $name, )* }
            }

            const fn sets(self) -> &'static [&'static [Permission]] {
                match self { $( Self::$variant => &[ $( $set, )+ ], )* }
            }
        }
    };
}

roles! {
    /// Reads secrets' metadata.
    LockboxAuditor = "lockbox.auditor": LOCKBOX_VIEWER;
    /// Reads secrets' metadata.
    LockboxViewer = "lockbox.viewer": LOCKBOX_VIEWER;
    /// Manages secrets and versions; reads no payload, changes no binding.
    LockboxEditor = "lockbox.editor": LOCKBOX_VIEWER, LOCKBOX_EDITOR;
    /// Reads payloads and nothing else.
    LockboxPayloadViewer = "lockbox.payloadViewer": LOCKBOX_PAYLOAD;
    /// Does everything with secrets.
    LockboxAdmin = "lockbox.admin": LOCKBOX_VIEWER, LOCKBOX_EDITOR, LOCKBOX_PAYLOAD, LOCKBOX_ADMIN;
    /// Reads keys' metadata.
    KmsAuditor = "kms.auditor": KMS_VIEWER;
    /// Reads keys' metadata.
    KmsViewer = "kms.viewer": KMS_VIEWER;
    /// Sees keys and attaches them to resources.
    KmsKeysUser = "kms.keys.user": KMS_USER;
    /// Encrypts.
    KmsKeysEncrypter = "kms.keys.encrypter": KMS_ENCRYPTER;
    /// Decrypts.
    KmsKeysDecrypter = "kms.keys.decrypter": KMS_DECRYPTER;
    /// Encrypts, decrypts and attaches keys.
    KmsKeysEncrypterDecrypter = "kms.keys.encrypterDecrypter":
        KMS_USER, KMS_ENCRYPTER, KMS_DECRYPTER;
    /// Creates, rotates and changes keys; crypto; nothing destructive.
    KmsEditor = "kms.editor": KMS_VIEWER, KMS_USER, KMS_ENCRYPTER, KMS_DECRYPTER, KMS_EDITOR;
    /// Does everything with keys.
    KmsAdmin = "kms.admin":
        KMS_VIEWER, KMS_USER, KMS_ENCRYPTER, KMS_DECRYPTER, KMS_EDITOR, KMS_ADMIN;
    /// Metadata everywhere.
    Auditor = "auditor": LOCKBOX_VIEWER, KMS_VIEWER, IAM_VIEWER;
    /// Metadata everywhere; no payloads (`contract §13` no. 17).
    Viewer = "viewer": LOCKBOX_VIEWER, KMS_VIEWER, IAM_VIEWER;
    /// Manages resources; assigns no roles, reads no payloads (`contract §13` no. 16).
    Editor = "editor":
        LOCKBOX_VIEWER, LOCKBOX_EDITOR,
        KMS_VIEWER, KMS_USER, KMS_ENCRYPTER, KMS_DECRYPTER, KMS_EDITOR,
        IAM_VIEWER, IAM_EDITOR;
    /// Does everything.
    Admin = "admin":
        LOCKBOX_VIEWER, LOCKBOX_EDITOR, LOCKBOX_PAYLOAD, LOCKBOX_ADMIN,
        KMS_VIEWER, KMS_USER, KMS_ENCRYPTER, KMS_DECRYPTER, KMS_EDITOR, KMS_ADMIN,
        IAM_VIEWER, IAM_EDITOR, IAM_ADMIN;
    /// Owns a cloud: everything, and alone may grant this role.
    CloudsOwner = "resource-manager.clouds.owner":
        LOCKBOX_VIEWER, LOCKBOX_EDITOR, LOCKBOX_PAYLOAD, LOCKBOX_ADMIN,
        KMS_VIEWER, KMS_USER, KMS_ENCRYPTER, KMS_DECRYPTER, KMS_EDITOR, KMS_ADMIN,
        IAM_VIEWER, IAM_EDITOR, IAM_ADMIN;
    /// Makes tokens for service accounts.
    IamTokenCreator = "iam.serviceAccounts.tokenCreator": IAM_VIEWER, TOKEN_CREATOR;
}

const TOKEN_CREATOR: &[P] = &[P::ServiceAccountsCreateToken];

impl Role {
    /// Reads a role id.
    #[must_use]
    pub fn parse(role_id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.as_str() == role_id)
    }

    /// Whether the role grants the permission.
    #[must_use]
    pub fn grants(self, permission: Permission) -> bool {
        self.sets().iter().any(|set| set.contains(&permission))
    }

    /// Everything that the role grants; a permission of two of its parts comes twice.
    pub fn permissions(self) -> impl Iterator<Item = Permission> {
        self.sets().iter().flat_map(|set| set.iter().copied())
    }

    /// Whether the role may be bound on a resource of this kind (`contract §2.12`): any role on a
    /// container, ownership on clouds alone, and elsewhere a role that gives something there. Of a
    /// single version there is only the payload to give, and the role for that is one.
    #[must_use]
    pub fn fits(self, on: ResourceKind) -> bool {
        let owner = self == Self::CloudsOwner;
        match on {
            ResourceKind::Organization | ResourceKind::Cloud => true,
            ResourceKind::Folder => !owner,
            ResourceKind::SecretVersion => self == Self::LockboxPayloadViewer,
            ResourceKind::Secret | ResourceKind::KmsKey | ResourceKind::ServiceAccount => {
                !owner && self.permissions().any(|permission| permission.is_asked_on(on))
            }
        }
    }

    /// Whether the role can matter to a decision of the KMS.
    #[must_use]
    pub fn concerns_kms(self) -> bool {
        [P::KmsKeysGet, P::KmsKeysList, P::KmsKeysEncrypt, P::KmsKeysDecrypt]
            .into_iter()
            .any(|permission| self.grants(permission))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_permissions_are_unique_and_round_trip() {
        for permission in Permission::ALL {
            assert_eq!(Permission::parse(permission.as_str()), Some(*permission));
        }
        assert_eq!(Permission::parse("secrets.steal"), None);
    }

    #[test]
    fn role_ids_are_unique_and_round_trip() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(*role));
        }
        assert_eq!(Role::parse("lockbox.owner"), None);
    }

    /// The matrix of `contract §4.3`, column by column.
    #[test]
    fn security_s05_lockbox_matrix_is_the_contract() {
        use Permission as P;
        let rows: [(P, [bool; 5]); 11] = [
            (P::SecretsGet, [true, true, true, false, true]),
            (P::SecretsList, [true, true, true, false, true]),
            (P::SecretsListAccessBindings, [true, true, true, false, true]),
            (P::SecretsCreate, [false, false, true, false, true]),
            (P::SecretsUpdate, [false, false, true, false, true]),
            (P::SecretsDelete, [false, false, true, false, true]),
            (P::VersionsAdd, [false, false, true, false, true]),
            (P::VersionsSetCurrent, [false, false, true, false, true]),
            (P::VersionsDestroy, [false, false, true, false, true]),
            (P::PayloadGet, [false, false, false, true, true]),
            (P::SecretsSetAccessBindings, [false, false, false, false, true]),
        ];
        let columns = [
            Role::LockboxAuditor,
            Role::LockboxViewer,
            Role::LockboxEditor,
            Role::LockboxPayloadViewer,
            Role::LockboxAdmin,
        ];
        for (permission, expected) in rows {
            for (role, expected) in columns.iter().zip(expected) {
                assert_eq!(role.grants(permission), expected, "{role:?} {permission:?}");
            }
        }
    }

    #[test]
    fn roles_fit_where_they_give_something() {
        use ResourceKind as K;
        let fitting = |on: K| -> Vec<&str> {
            let roles = Role::ALL.iter().filter(|role| role.fits(on));
            roles.map(|role| role.as_str()).collect()
        };
        let primitive = ["auditor", "viewer", "editor", "admin"];
        let lockbox = ["auditor", "viewer", "editor", "payloadViewer", "admin"]
            .map(|role| format!("lockbox.{role}"));
        let on_secrets: Vec<_> = lockbox.iter().map(String::as_str).chain(primitive).collect();
        assert_eq!(fitting(K::Secret), on_secrets);
        assert_eq!(fitting(K::SecretVersion), ["lockbox.payloadViewer"]);
        let on_accounts: Vec<_> =
            primitive.into_iter().chain(["iam.serviceAccounts.tokenCreator"]).collect();
        assert_eq!(fitting(K::ServiceAccount), on_accounts);
        assert_eq!(fitting(K::KmsKey).len(), 12);
        assert_eq!(fitting(K::Cloud).len(), Role::ALL.len());
        assert_eq!(fitting(K::Folder).len(), Role::ALL.len() - 1);
        assert!(!Role::CloudsOwner.fits(K::Folder));
    }

    #[test]
    fn primitive_roles_do_not_read_payloads_below_admin() {
        for role in [Role::Auditor, Role::Viewer, Role::Editor] {
            assert!(!role.grants(Permission::PayloadGet), "{role:?}");
        }
        assert!(Role::Admin.grants(Permission::PayloadGet));
        assert!(!Role::Editor.grants(Permission::KmsKeysAdminister));
    }
}

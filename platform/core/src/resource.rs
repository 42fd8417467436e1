//! What a role can be bound to, and the chain of ancestors along which rights are inherited.

use minicbor::{Decode, Encode};

/// The kinds of resource that carry access bindings (`contract §4.1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum ResourceKind {
    /// The root of the hierarchy.
    #[n(0)]
    Organization,
    /// Holds folders.
    #[n(1)]
    Cloud,
    /// Holds secrets, keys and service accounts.
    #[n(2)]
    Folder,
    /// A secret.
    #[n(3)]
    Secret,
    /// A symmetric key of the KMS.
    #[n(4)]
    KmsKey,
    /// A service account, as a thing that others may administer.
    #[n(5)]
    ServiceAccount,
    /// A single version of a secret: our extension, see `docs/compatibility.md`.
    #[n(6)]
    SecretVersion,
}

impl ResourceKind {
    /// The resource type in audit records (`contract §6.2`).
    #[must_use]
    pub const fn audit_name(self) -> &'static str {
        match self {
            Self::Organization => "organization-manager.organization",
            Self::Cloud => "resource-manager.cloud",
            Self::Folder => "resource-manager.folder",
            Self::Secret => "lockbox.secret",
            Self::KmsKey => "kms.symmetricKey",
            Self::ServiceAccount => "iam.serviceAccount",
            Self::SecretVersion => "lockbox.secretVersion",
        }
    }
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ResourceRef {
    /// What it is.
    #[n(0)]
    pub kind: ResourceKind,
    /// Its id.
    #[n(1)]
    pub id: String,
}

impl ResourceRef {
    /// The resource of this kind with this id.
    #[must_use]
    pub fn new(kind: ResourceKind, id: &str) -> Self {
        Self { kind, id: id.to_owned() }
    }
}

/// A resource with its ancestors, outermost first: organization, cloud, folder, leaf.
///
/// Rights bound on any of them hold on the leaf (`contract §4.1`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResourcePath(Vec<ResourceRef>);

impl ResourcePath {
    /// A path from the outermost resource to the leaf.
    #[must_use]
    pub const fn new(outermost_first: Vec<ResourceRef>) -> Self {
        Self(outermost_first)
    }

    /// This path with one more resource at its end.
    #[must_use]
    pub fn with_leaf(mut self, leaf: ResourceRef) -> Self {
        self.0.push(leaf);
        self
    }

    /// The resources, outermost first.
    #[must_use]
    pub fn resources(&self) -> &[ResourceRef] {
        &self.0
    }

    /// The id of the resource of this kind on the path.
    #[must_use]
    pub fn id_of(&self, kind: ResourceKind) -> Option<&str> {
        self.0.iter().find(|r| r.kind == kind).map(|r| r.id.as_str())
    }
}

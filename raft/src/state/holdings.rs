//! Who holds what: the bindings on containers, by subject.
//!
//! Organizations, clouds and folders only. What is bound there is inherited by keys of the KMS,
//! wherever they are, so it has to be found without knowing where; a binding on a secret reaches
//! nothing else. Written by `apply` together with the bindings, and never without them.

use lockbox_core::{ResourceKind, ResourceRef, Subject};
use minicbor::{Decode, Encode};

use super::{Direction, Scan, Space, StateRead, keys};
use crate::domain::binding::{AccessBinding, BindingSet};
use crate::domain::codec;
use crate::error::StorageError;

/// What one subject holds on one container.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Holding {
    /// The container.
    #[n(0)]
    pub on: ResourceRef,
    /// The subject's bindings on it, conditional ones included.
    #[n(1)]
    pub bindings: Vec<AccessBinding>,
}

impl Holding {
    /// The part of a binding set that is the subject's; nothing when it has none.
    #[must_use]
    pub fn of(subject: &Subject, on: &ResourceRef, set: &BindingSet) -> Option<Self> {
        let own = set.bindings().iter().filter(|binding| binding.subject == *subject);
        let bindings: Vec<_> = own.cloned().collect();
        (!bindings.is_empty()).then(|| Self { on: on.clone(), bindings })
    }
}

/// Whether bindings on this kind of resource are indexed.
#[must_use]
pub const fn is_container(kind: ResourceKind) -> bool {
    match kind {
        ResourceKind::Organization | ResourceKind::Cloud | ResourceKind::Folder => true,
        ResourceKind::Secret
        | ResourceKind::KmsKey
        | ResourceKind::ServiceAccount
        | ResourceKind::SecretVersion => false,
    }
}

/// Everything that a subject itself holds on containers, at most `limit` containers.
///
/// # Errors
/// [`StorageError`].
pub fn holdings(
    view: &dyn StateRead,
    subject: &Subject,
    limit: usize,
) -> Result<Vec<Holding>, StorageError> {
    let prefix = keys::holdings_of(subject);
    let scan = Scan {
        space: Space::Records,
        to: keys::prefix_end(&prefix),
        from: prefix,
        direction: Direction::Ascending,
        limit,
    };
    let decode = |value: &Vec<u8>| {
        codec::decode(value).map_err(|e| StorageError::corrupt("read the state", e.to_string()))
    };
    view.scan(&scan)?.iter().map(|(_, value)| decode(value)).collect()
}

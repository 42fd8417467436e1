//! A view's refusal together with the path that it was decided on.
//!
//! An audit record names where a call was refused, and whether its caller was allowed to be there:
//! so a refusal takes the path out of the view with it.

use lockbox_core::ResourcePath;
use lockbox_raft::apply::Refusal;
use lockbox_raft::domain::Rejection;

/// Why a view refuses, and where.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// The resource with its ancestors, once it was resolved.
    pub path: Option<ResourcePath>,
}

impl Refused {
    /// Whether the caller was allowed what it asked for: rights are judged right after the path is
    /// known (`contract §5.2`, order of checks), so any other refusal came after them.
    #[must_use]
    pub const fn was_authorized(&self) -> bool {
        match &self.refusal {
            Refusal::Rejected(Rejection::PermissionDenied | Rejection::Unauthenticated)
            | Refusal::Storage(_) => false,
            Refusal::Rejected(_) => self.path.is_some(),
        }
    }
}

impl<E: Into<Refusal>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self { refusal: error.into(), path: None }
    }
}

/// Decides on a path that is known from here on; rights first.
///
/// # Errors
/// The refusal, with the path.
pub fn within<R>(
    path: ResourcePath,
    decide: impl FnOnce(&ResourcePath) -> Result<R, Refusal>,
) -> Result<(R, ResourcePath), Refused> {
    match decide(&path) {
        Ok(value) => Ok((value, path)),
        Err(refusal) => Err(Refused { refusal, path: Some(path) }),
    }
}

#[cfg(test)]
mod tests {
    use lockbox_raft::domain::outcome::Precondition;

    use super::*;

    #[test]
    fn only_what_is_refused_after_the_rights_was_authorized() {
        let at = |rejection: Rejection| {
            within::<()>(ResourcePath::default(), |_| Err(rejection.into())).unwrap_err()
        };
        assert!(!at(Rejection::PermissionDenied).was_authorized());
        assert!(at(Precondition::SecretInactive.into()).was_authorized());
        assert!(!Refused::from(Rejection::OperationNotFound("o".into())).was_authorized());
    }
}

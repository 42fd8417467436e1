//! The evaluator: does anything bound along a path grant a permission to a subject?
//!
//! Pure and total. Deny is the default; rights are additive and inherited downwards only
//! (`contract §4.1`). The caller supplies the bindings, read from the same view as the data.

use crate::resource::{ResourcePath, ResourceRef};
use crate::role::{Permission, Role};
use crate::subject::{Subject, SubjectKind, SystemSubject};

/// One question to the evaluator.
#[derive(Debug, Clone, Copy)]
pub struct AccessQuery<'a> {
    /// Who asks; already authenticated.
    pub subject: &'a Subject,
    /// What they want to do.
    pub permission: Permission,
    /// On what, with its ancestors.
    pub path: &'a ResourcePath,
}

/// The answer, with the reason that audit and `iam explain` print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// This role on this resource grants it.
    Allowed {
        /// The granting role.
        role: Role,
        /// Where it is bound.
        on: ResourceRef,
    },
    /// Nothing grants it.
    Denied,
}

impl Decision {
    /// Whether access is granted.
    #[must_use]
    pub const fn allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }
}

/// Evaluates `query` over the bindings that `bindings_of` gives for each resource of the path.
///
/// `bindings_of` returns `(role id, subject)` pairs. An unknown role id grants nothing.
///
/// # Errors
/// Whatever `bindings_of` fails with; nothing is granted then.
pub fn is_allowed<E>(
    query: AccessQuery<'_>,
    mut bindings_of: impl FnMut(&ResourceRef) -> Result<Vec<(String, Subject)>, E>,
) -> Result<Decision, E> {
    for resource in query.path.resources() {
        for (role_id, bound_subject) in bindings_of(resource)? {
            let Some(role) = Role::parse(&role_id) else { continue };
            if role.grants(query.permission) && covers(&bound_subject, query.subject) {
                return Ok(Decision::Allowed { role, on: resource.clone() });
            }
        }
    }
    Ok(Decision::Denied)
}

/// Whether a binding's subject includes the caller.
#[must_use]
pub fn covers(bound: &Subject, caller: &Subject) -> bool {
    if bound.kind == SubjectKind::System {
        // `allUsers` admits nobody without a token here: the caller is already authenticated.
        return SystemSubject::parse(&bound.id).is_some();
    }
    bound == caller
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::resource::ResourceKind;

    fn account(id: &str) -> Subject {
        Subject { kind: SubjectKind::ServiceAccount, id: id.to_owned() }
    }

    fn path() -> ResourcePath {
        ResourcePath::new(vec![
            ResourceRef::new(ResourceKind::Cloud, "cloud"),
            ResourceRef::new(ResourceKind::Folder, "folder"),
            ResourceRef::new(ResourceKind::Secret, "secret"),
        ])
    }

    fn decide(bound: &[(&str, &str, Subject)], permission: Permission) -> bool {
        let caller = account("a");
        let path = path();
        let query = AccessQuery { subject: &caller, permission, path: &path };
        let Ok(decision) = is_allowed(query, |resource| {
            Ok::<_, Infallible>(
                bound
                    .iter()
                    .filter(|(id, _, _)| *id == resource.id)
                    .map(|(_, role, subject)| ((*role).to_owned(), subject.clone()))
                    .collect(),
            )
        });
        decision.allowed()
    }

    #[test]
    fn nothing_bound_is_denied() {
        assert!(!decide(&[], Permission::SecretsGet));
    }

    #[test]
    fn rights_are_inherited_from_every_ancestor() {
        for resource in ["cloud", "folder", "secret"] {
            let bound = [(resource, "lockbox.viewer", account("a"))];
            assert!(decide(&bound, Permission::SecretsGet), "{resource}");
            assert!(!decide(&bound, Permission::PayloadGet), "{resource}");
        }
    }

    #[test]
    fn other_subjects_and_unknown_roles_grant_nothing() {
        assert!(!decide(&[("secret", "lockbox.admin", account("b"))], Permission::SecretsGet));
        assert!(!decide(&[("secret", "lockbox.god", account("a"))], Permission::SecretsGet));
        let user = Subject { kind: SubjectKind::UserAccount, id: "a".to_owned() };
        assert!(!decide(&[("secret", "lockbox.admin", user)], Permission::SecretsGet));
    }

    #[test]
    fn system_sets_cover_every_authenticated_caller() {
        for id in ["allUsers", "allAuthenticatedUsers"] {
            let set = Subject { kind: SubjectKind::System, id: id.to_owned() };
            assert!(decide(&[("folder", "lockbox.viewer", set)], Permission::SecretsGet));
        }
        let other = Subject { kind: SubjectKind::System, id: "internal".to_owned() };
        assert!(!decide(&[("folder", "lockbox.viewer", other)], Permission::SecretsGet));
    }
}

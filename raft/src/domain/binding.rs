//! Access bindings: which subject holds which role on which resource (`contract §2.12`).

use lockbox_core::{LogTime, Subject};
use minicbor::{Decode, Encode};

/// One binding: the pair of a role and a subject; its resource is the key it is stored under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct AccessBinding {
    /// The role id, as the caller wrote it.
    #[n(0)]
    pub role_id: String,
    /// Who holds it.
    #[n(1)]
    pub subject: Subject,
    /// Reserved extension: the binding counts only before this time.
    #[n(2)]
    pub not_after: Option<LogTime>,
    /// Reserved extension: the binding counts only for the current version.
    #[n(3)]
    pub current_version_only: Option<bool>,
}

impl AccessBinding {
    /// An unconditional binding.
    #[must_use]
    pub fn new(role_id: &str, subject: Subject) -> Self {
        Self { role_id: role_id.to_owned(), subject, not_after: None, current_version_only: None }
    }

    /// Whether the binding counts always and everywhere. Conditional ones are reserved: no command
    /// makes one yet, and one written by a later build grants nothing here rather than too much.
    #[must_use]
    pub const fn is_unconditional(&self) -> bool {
        self.not_after.is_none() && self.current_version_only.is_none()
    }
}

/// All bindings set directly on one resource, sorted and without duplicates.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct BindingSet {
    #[n(0)]
    bindings: Vec<AccessBinding>,
}

/// What a delta does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum DeltaAction {
    /// Adds; no-op when present (`contract §13` no. 32).
    #[n(1)]
    Add,
    /// Removes; no-op when absent.
    #[n(2)]
    Remove,
}

/// One change of a binding set.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BindingDelta {
    /// Add or remove.
    #[n(0)]
    pub action: DeltaAction,
    /// What.
    #[n(1)]
    pub binding: AccessBinding,
}

impl BindingSet {
    /// Collapses duplicates and sorts.
    #[must_use]
    pub fn new(mut bindings: Vec<AccessBinding>) -> Self {
        bindings.sort();
        bindings.dedup();
        Self { bindings }
    }

    /// The bindings in order.
    #[must_use]
    pub fn bindings(&self) -> &[AccessBinding] {
        &self.bindings
    }

    /// Applies deltas in order and returns those that had an effect.
    pub fn apply(&mut self, deltas: &[BindingDelta]) -> Vec<BindingDelta> {
        let mut effective = Vec::new();
        for delta in deltas {
            let place = self.bindings.binary_search(&delta.binding);
            match (delta.action, place) {
                (DeltaAction::Add, Err(at)) => self.bindings.insert(at, delta.binding.clone()),
                (DeltaAction::Remove, Ok(at)) => drop(self.bindings.remove(at)),
                (DeltaAction::Add, Ok(_)) | (DeltaAction::Remove, Err(_)) => continue,
            }
            effective.push(delta.clone());
        }
        effective
    }

    /// What turns this set into another: removals first, each part in order.
    #[must_use]
    pub fn difference(&self, to: &Self) -> Vec<BindingDelta> {
        let only = |of: &Self, missing_in: &Self, action| {
            let gone = of.bindings.iter().filter(|b| missing_in.bindings.binary_search(b).is_err());
            gone.map(|b| BindingDelta { action, binding: b.clone() }).collect::<Vec<_>>()
        };
        let mut deltas = only(self, to, DeltaAction::Remove);
        deltas.extend(only(to, self, DeltaAction::Add));
        deltas
    }
}

#[cfg(test)]
mod tests {
    use lockbox_core::SubjectKind;

    use super::*;

    fn binding(id: &str) -> AccessBinding {
        let subject = Subject { kind: SubjectKind::ServiceAccount, id: id.to_owned() };
        AccessBinding::new("lockbox.viewer", subject)
    }

    #[test]
    fn deltas_are_idempotent_and_ordered() {
        let mut set = BindingSet::new(vec![binding("b"), binding("a"), binding("a")]);
        assert_eq!(set.bindings().len(), 2);
        let add = BindingDelta { action: DeltaAction::Add, binding: binding("c") };
        let remove = BindingDelta { action: DeltaAction::Remove, binding: binding("a") };
        let before = set.clone();
        let effective = set.apply(&[add.clone(), add.clone(), remove.clone(), remove.clone()]);
        assert_eq!(effective, [add.clone(), remove.clone()]);
        assert_eq!(set, BindingSet::new(vec![binding("b"), binding("c")]));
        assert_eq!(before.difference(&set), [remove, add]);
        assert_eq!(set.difference(&set), []);
    }
}

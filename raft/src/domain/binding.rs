//! Access bindings: which subject holds which role on which resource (`contract §2.12`), and our
//! conditions on them (`docs/access.md`).

use std::ops::Range;

use lockbox_core::{LogTime, Subject};
use minicbor::{Decode, Encode};

/// Which versions of a secret a binding counts for, where it does not count for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Versions {
    /// The one that is current when its payload is read.
    #[n(0)]
    Current,
}

/// One binding: a role, a subject and the conditions; its resource is the key it is stored under.
///
/// A role and a subject may be in several bindings with different conditions: rights add up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct AccessBinding {
    /// The role id, as the caller wrote it.
    #[n(0)]
    pub role_id: String,
    /// Who holds it.
    #[n(1)]
    pub subject: Subject,
    /// Our extension: the end of the binding, see [`Self::has_ended`].
    #[n(2)]
    pub not_after: Option<LogTime>,
    /// Our extension: the versions that it counts for; all when absent.
    #[n(3)]
    pub versions: Option<Versions>,
}

impl AccessBinding {
    /// An unconditional binding.
    #[must_use]
    pub fn new(role_id: &str, subject: Subject) -> Self {
        Self { role_id: role_id.to_owned(), subject, not_after: None, versions: None }
    }

    /// Whether the binding counts always, and for all versions.
    #[must_use]
    pub const fn is_unconditional(&self) -> bool {
        self.not_after.is_none() && self.versions.is_none()
    }

    /// Whether the binding has ended: from its end on, that moment included, it gives nothing.
    #[must_use]
    pub fn has_ended(&self, now: LogTime) -> bool {
        self.not_after.is_some_and(|end| end <= now)
    }

    /// Whether the binding counts for a secret's current version alone.
    #[must_use]
    pub const fn only_current_version(&self) -> bool {
        matches!(self.versions, Some(Versions::Current))
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
    /// Removes; no-op when absent. Without conditions it takes the role from the subject: every
    /// binding of the two goes, also one with conditions. With conditions only that very one.
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

    /// The bindings that have not ended.
    #[must_use]
    pub fn living(&self, now: LogTime) -> Self {
        let living = self.bindings.iter().filter(|binding| !binding.has_ended(now));
        Self { bindings: living.cloned().collect() }
    }

    /// Applies deltas in order and returns those that had an effect.
    pub fn apply(&mut self, deltas: &[BindingDelta]) -> Vec<BindingDelta> {
        let mut effective = Vec::new();
        for BindingDelta { action, binding } in deltas {
            match action {
                DeltaAction::Add => {
                    let Err(at) = self.bindings.binary_search(binding) else { continue };
                    self.bindings.insert(at, binding.clone());
                    effective.push(BindingDelta { action: *action, binding: binding.clone() });
                }
                DeltaAction::Remove => {
                    let taken = self.taken_by(binding);
                    let gone = self.bindings.drain(taken);
                    let gone = gone.map(|binding| BindingDelta { action: *action, binding });
                    effective.extend(gone);
                }
            }
        }
        effective
    }

    /// The places of what a removal takes, see [`DeltaAction::Remove`].
    fn taken_by(&self, removed: &AccessBinding) -> Range<usize> {
        if !removed.is_unconditional() {
            return match self.bindings.binary_search(removed) {
                Ok(at) => at..at + 1,
                Err(at) => at..at,
            };
        }
        // Sorted by role and subject first: what both name stands together.
        let whose = |binding: &AccessBinding| {
            let role = binding.role_id.cmp(&removed.role_id);
            role.then_with(|| binding.subject.cmp(&removed.subject))
        };
        let from = self.bindings.partition_point(|binding| whose(binding).is_lt());
        let to = self.bindings.partition_point(|binding| whose(binding).is_le());
        from..to
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

    fn until(id: &str, ms: u64) -> AccessBinding {
        AccessBinding { not_after: Some(LogTime::from_ms(ms)), ..binding(id) }
    }

    #[test]
    fn a_binding_ends_at_its_end_and_not_before() {
        let set = BindingSet::new(vec![binding("a"), until("a", 10), until("b", 11)]);
        assert!(!until("a", 10).has_ended(LogTime::from_ms(9)));
        assert!(until("a", 10).has_ended(LogTime::from_ms(10)));
        assert_eq!(set.living(LogTime::from_ms(9)), set);
        let left = BindingSet::new(vec![binding("a"), until("b", 11)]);
        assert_eq!(set.living(LogTime::from_ms(10)), left);
        assert_eq!(set.living(LogTime::MAX), BindingSet::new(vec![binding("a")]));
    }

    #[test]
    fn a_removal_without_conditions_takes_the_role_and_one_with_them_itself() {
        let current = AccessBinding { versions: Some(Versions::Current), ..binding("b") };
        let others = [binding("a"), until("c", 10)];
        let of_b = [binding("b"), current.clone(), until("b", 10), until("b", 20)];
        let set = BindingSet::new([&others[..], &of_b[..]].concat());
        let remove = |binding: &AccessBinding| BindingDelta {
            action: DeltaAction::Remove,
            binding: binding.clone(),
        };
        let mut one_less = set.clone();
        assert_eq!(one_less.apply(&[remove(&until("b", 15))]), []);
        assert_eq!(one_less.apply(&[remove(&until("b", 10))]), [remove(&until("b", 10))]);
        assert_eq!(one_less.bindings().len(), 5);
        let mut without = set;
        // What of the two has no condition first, then the earlier end.
        let gone = without.apply(&[remove(&binding("b"))]);
        let expected = [&of_b[0], &current, &of_b[2], &of_b[3]].map(remove);
        assert_eq!(gone, expected);
        assert_eq!(without, BindingSet::new(others.to_vec()));
    }
}

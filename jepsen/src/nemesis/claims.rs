//! Which fault has which server to itself: no two faults start, stop or damage the same one.
//!
//! Also which fault alone may damage data: two that did could leave no majority with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::class::FaultClass;
use crate::cluster::part::Part;

/// What is claimed now. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claims(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    parts: BTreeMap<Part, FaultClass>,
    damage: Option<FaultClass>,
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims all of them, or says who has one of them already.
    pub(crate) fn take(&self, class: FaultClass, parts: &[Part]) -> Result<Claim, String> {
        let mut inner = self.lock();
        for part in parts {
            if let Some(holder) = inner.parts.get(part) {
                return Err(format!("{part} is taken by {holder}"));
            }
        }
        inner.parts.extend(parts.iter().map(|part| (*part, class)));
        Ok(Claim { claims: self.clone(), parts: parts.to_vec(), damage: false })
    }

    /// The same, and the right to damage data.
    pub(crate) fn take_to_damage(
        &self,
        class: FaultClass,
        parts: &[Part],
    ) -> Result<Claim, String> {
        if let Some(holder) = self.lock().damage {
            return Err(format!("{holder} is damaging data"));
        }
        let mut claim = self.take(class, parts)?;
        let mut inner = self.lock();
        if let Some(holder) = inner.damage {
            return Err(format!("{holder} is damaging data"));
        }
        inner.damage = Some(class);
        drop(inner);
        claim.damage = true;
        Ok(claim)
    }

    /// Whether a fault has this server to itself.
    pub(crate) fn is_taken(&self, part: Part) -> bool {
        self.lock().parts.contains_key(&part)
    }
}

/// Servers that a fault has to itself, until this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Claims,
    parts: Vec<Part>,
    damage: bool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut inner = self.claims.lock();
        for part in &self.parts {
            inner.parts.remove(part);
        }
        if self.damage {
            inner.damage = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_cannot_be_taken_until_it_is_given_back() {
        let claims = Claims::default();
        let (one, two) = (Part::Node(1), Part::Node(2));
        let first = claims.take(FaultClass::Kill, &[one]).unwrap();
        let refused = claims.take(FaultClass::Pause, &[two, one]).unwrap_err();
        assert_eq!(refused, "node-1 is taken by kill");
        assert!(!claims.is_taken(two), "a claim that fails takes nothing");
        drop(first);
        claims.take(FaultClass::Pause, &[two, one]).unwrap();
    }

    #[test]
    fn one_fault_at_a_time_damages_data() {
        let claims = Claims::default();
        let first = claims.take_to_damage(FaultClass::BitFlip, &[Part::Node(1)]).unwrap();
        let refused = claims.take_to_damage(FaultClass::Membership, &[Part::Node(2)]).unwrap_err();
        assert_eq!(refused, "bit_flip is damaging data");
        assert!(!claims.is_taken(Part::Node(2)));
        drop(first);
        claims.take_to_damage(FaultClass::Membership, &[Part::Node(2)]).unwrap();
    }
}

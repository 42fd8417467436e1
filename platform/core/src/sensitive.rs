//! Values that must never be printed and are wiped when dropped.
//!
//! INVARIANT: there is no `Display`, no `Serialize` and no derived `Debug` here; the only way to
//! the content is [`Sensitive::expose`], which a reviewer can search for (`peers.md` S14, S17).

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// A secret value: printed as `[redacted]`, wiped from memory when dropped.
pub struct Sensitive<T: Zeroize>(Zeroizing<T>);

/// Secret bytes: an entry's value, a data key, a token.
pub type SensitiveBytes = Sensitive<Vec<u8>>;
/// Secret text: a token or a text entry.
pub type SensitiveString = Sensitive<String>;

impl<T: Zeroize> Sensitive<T> {
    /// Takes a value into custody.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself. Whoever calls this must not log, store or format what comes back.
    #[must_use]
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// The value itself, to be changed in place.
    #[must_use]
    pub fn expose_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Zeroize + Clone> Clone for Sensitive<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Zeroize> From<T> for Sensitive<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Zeroize> fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T: Zeroize + AsRef<[u8]>> Sensitive<T> {
    /// Compares in time that depends on the lengths only (`peers.md` S7).
    #[must_use]
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        self.0.as_ref().ct_eq(other).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_nothing_of_the_value() {
        let value = SensitiveString::new("hunter2".to_owned());
        assert_eq!(format!("{value:?}"), "[redacted]");
        assert!(!format!("{:?}", Some(vec![value])).contains("hunter2"));
    }

    #[test]
    fn comparison_sees_content_and_length() {
        let value = SensitiveBytes::new(vec![1, 2, 3]);
        assert!(value.ct_eq(&[1, 2, 3]));
        assert!(!value.ct_eq(&[1, 2, 4]));
        assert!(!value.ct_eq(&[1, 2]));
    }
}

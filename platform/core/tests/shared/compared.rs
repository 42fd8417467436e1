//! Whether `==` can be used on a type, as the compiler says it: for the types whose content must be
//! compared in constant time, which must not have it (`peers.md` S7).

use std::marker::PhantomData;

/// Stands for a type: `Compared::<T>::BY_EQUALS`, with [`Otherwise`] in scope.
pub(crate) struct Compared<T>(PhantomData<T>);

impl<T: PartialEq> Compared<T> {
    /// Goes before [`Otherwise::BY_EQUALS`] where it exists.
    pub(crate) const BY_EQUALS: bool = true;
}

/// What holds of all other types.
pub(crate) trait Otherwise {
    /// Nothing compares it by `==`.
    const BY_EQUALS: bool = false;
}

impl<T> Otherwise for Compared<T> {}

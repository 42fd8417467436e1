//! The replicated state as a key-value map: how it is read, written and laid out.
//!
//! Pure: the engines of [`crate::store`] implement [`StateRead`]; `apply` and the views of the
//! node read through it, so that both judge by the same code.

pub mod holdings;
pub mod keys;
mod overlay;
pub mod tables;
mod timed;

pub use overlay::{Overlay, Write};
pub use timed::TimedView;

use crate::error::StorageError;

/// The column families of the state. All of them change in one atomic batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Records: small, read often.
    Records,
    /// Sealed payloads: large, read one at a time.
    Payloads,
    /// What the state machine itself keeps: last applied, membership, log time.
    System,
}

impl Space {
    /// Every space, in the order in which a state hash covers them; that of the declaration, so
    /// that `space as usize` is its place here.
    pub const ALL: [Self; 3] = [Self::Records, Self::Payloads, Self::System];

    /// The column family's name on disk.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Payloads => "payloads",
            Self::System => "system",
        }
    }
}

/// The order in which a scan returns its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

/// A scan: keys in `[from, to)` of one space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// The space.
    pub space: Space,
    /// First key, inclusive.
    pub from: Vec<u8>,
    /// End, exclusive.
    pub to: Vec<u8>,
    /// Order of the rows.
    pub direction: Direction,
    /// Rows at most.
    pub limit: usize,
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// One consistent view of the state.
pub trait StateRead {
    /// The value under a key.
    ///
    /// # Errors
    /// [`StorageError`] when the store cannot answer; never a false "absent".
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// The rows of a range.
    ///
    /// # Errors
    /// [`StorageError`] when the store cannot answer; never a shortened list.
    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StorageError>;
}

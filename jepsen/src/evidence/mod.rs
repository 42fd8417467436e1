//! The evidence of a commit: one directory with the records of its runs, which a stranger can
//! judge again without the machine, the servers or us.
//!
//! | file | what |
//! |---|---|
//! | `BUNDLE.json` | commit, runs, hashes of the programs, toolchain and machine ([`About`]) |
//! | `runs/<run>/` | the record of a run, and what follows from it |
//! | `kill-matrix.json` | which seeded bug was seen by which law ([`matrix`]); optional |
//! | `MANIFEST.json` | path, size and SHA-256 of each file above ([`manifest`]) |
//! | `MANIFEST.sha256` | the SHA-256 of the manifest, as `sha256sum` reads it |
//!
//! Promises that a bundle is there whole or not at all, that one that was written passes
//! [`verify()`], and that verifying changes nothing of it. Two things make it hard to forge: a
//! changed byte no longer has its hash, and a changed verdict no longer follows from its history,
//! whatever the hashes say. It cannot show that a history was recorded and not invented: that
//! takes a run of one's own, for which the plan and its seed are there.

mod about;
mod difference;
pub mod manifest;
pub mod matrix;
mod redrawn;
mod rejudge;
mod sources;
mod timeline;
mod verify;
mod write;

pub use about::About;
pub use verify::verify;
pub use write::{Wanted, write};

/// What the bundle tells of itself.
pub const ABOUT_FILE: &str = "BUNDLE.json";
/// Directory of the runs.
pub const RUNS_DIRECTORY: &str = "runs";
/// The kill matrix.
pub const MATRIX_FILE: &str = "kill-matrix.json";

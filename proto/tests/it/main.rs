//! Tests of what is generated, seen from outside the crate.
//!
//! `bounds` covers the grammar of constraints; `wire` compares definitions and tables with the
//! contract; `validation` tries requests at the edges of their constraints; `redaction` proves that
//! secrets are not printed; `packing` covers `Any` and descriptors.

mod bounds;
mod packing;
mod redaction;
mod validation;
mod wire;

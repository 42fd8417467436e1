//! Keys: what callers do with them, what a mutation carries, and what decides it.

pub mod apply;
pub mod command;
pub mod page;
pub mod service;

//! Keys: what callers do with them, what a mutation carries, and what decides it.

pub mod apply;
pub mod bindings;
pub mod command;
mod mutate;
pub mod operations;
pub mod page;
pub mod service;
pub mod versions;

pub use mutate::Done;

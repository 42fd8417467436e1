//! The services: one file for each, decoding requests and encoding answers.

pub mod access;
mod access_bindings;
pub mod admin;
pub mod cloud;
pub mod cluster;
mod container_changes;
mod container_pages;
pub mod endpoint;
pub mod folder;
pub mod health;
pub mod iam_token;
pub mod introspection;
pub mod key;
pub mod kms_witness;
pub mod operation;
mod operations_of;
pub mod payload;
pub mod reflection;
pub mod secret;
pub mod service_account;
pub mod watch;

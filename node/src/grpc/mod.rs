//! The services: one file for each, decoding requests and encoding answers.

pub mod admin;
pub mod cluster;
pub mod endpoint;
pub mod folder;
pub mod health;
pub mod iam_token;
pub mod introspection;
pub mod key;
pub mod operation;
pub mod payload;
pub mod reflection;
pub mod secret;
pub mod service_account;

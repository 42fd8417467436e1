//! The public services: one file for each, decoding requests and encoding answers.

pub mod endpoint;
pub mod iam_token;
pub mod operation;
pub mod payload;
pub mod secret;

//! The public services: one file for each, decoding requests and encoding answers.

pub mod secret;

//! What `kms-sim` promises, tested through its engine and through its server.

mod billing;
mod canary;
mod crypto;
mod keys;
mod kill;
mod start;
mod support;

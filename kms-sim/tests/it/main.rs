//! What `kms-sim` promises, tested through its engine and through its server.

#[cfg(test)]
mod billing;
#[cfg(test)]
mod canary;
#[cfg(test)]
mod crypto;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod kill;
#[cfg(test)]
#[cfg(feature = "mutants")]
mod mutants;
#[cfg(test)]
mod node_calls;
#[cfg(test)]
mod process;
#[cfg(test)]
mod server;
#[cfg(test)]
mod server_support;
#[cfg(test)]
mod start;
#[cfg(test)]
mod support;
#[cfg(test)]
#[cfg(feature = "mutants")]
#[path = "../../../platform/core/tests/shared/trial.rs"]
mod trial;
#[cfg(test)]
mod unread;

//! A thin client of one node: what it asks goes out once, and what comes back is classified.
//!
//! Owns the wire side of the suite. Promises: no retry, no redirect, no hedging and no
//! reconnection that the caller does not see, so one attempt is one operation of the history;
//! values leave as they are and come back as hashes. Knows nothing of laws, workloads or faults.

pub mod account_key;
pub mod callers;
pub mod classify;
pub mod connection;
pub mod lockbox;
pub mod marks;
pub mod operator;
pub mod request;
pub mod request_id;
pub mod wire;

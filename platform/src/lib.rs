//! What both servers share.
//!
//! Owns process concerns (tasks, exit codes, logs, metrics, health), the edge (TLS, listener,
//! request context, error mapping, REST) and identity on the wire (tokens, JWTs, authorized
//! keys), the audit file, counters of each resource, and how bills are priced and printed. Refuses
//! to know secrets, keys of the KMS, or Raft.

mod arrival;
pub mod audit;
pub mod authorized_key;
pub mod billing;
pub mod body_budget;
pub mod certificates;
pub mod config_file;
pub mod confinement;
mod connection;
pub mod detach;
pub mod exit;
pub mod file_limit;
pub mod grpc_services;
pub mod headers;
pub mod health;
pub mod http_service;
pub mod jwt;
pub mod listener;
pub mod metric_names;
pub mod metrics;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod own_certificate;
pub mod public_key;
pub mod rate;
pub mod request;
pub mod request_layer;
pub mod resource_counts;
pub mod rest;
pub mod status;
pub mod system;
pub mod tasks;
pub mod telemetry;
pub mod tls;
pub mod token;
pub mod unhandled;
pub mod until_sent;

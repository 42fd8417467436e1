//! What both servers share.
//!
//! Owns process concerns (tasks, exit codes, logs, metrics, health), the edge (TLS, listener,
//! request context, error mapping, REST) and identity on the wire (tokens, JWTs, authorized
//! keys), the audit file, counters of each resource, and how bills are priced and printed. Refuses
//! to know secrets, keys of the KMS, or Raft.

pub mod admission;
mod arrival;
pub mod audit;
pub mod authority;
pub mod authorized_key;
pub mod billing;
pub mod body_budget;
pub mod certificate_expiry;
pub mod certificates;
pub mod config_check;
pub mod config_file;
pub mod confinement;
mod connection;
pub mod credentials;
pub mod data_directory;
pub mod detach;
pub mod disk_metrics;
pub mod disk_space;
pub mod exit;
pub mod file_limit;
pub mod formats;
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
pub mod otlp;
pub mod own_certificate;
pub mod probe;
pub mod process_metrics;
pub mod public_key;
pub mod rate;
pub mod receivers;
pub mod request;
pub mod request_layer;
pub mod resource_counts;
pub mod rest;
pub mod sampled;
pub mod sealed_file;
pub mod service_manager;
pub mod statement;
pub mod status;
pub mod system;
pub mod tasks;
pub mod telemetry;
pub mod tls;
pub mod token;
pub mod trace;
pub mod unhandled;
pub mod until_sent;

//! The platform as its users see it: sockets, TLS, gRPC and REST.

mod decoders;
mod fixtures;
mod head;
// `cfg(test)` is how clippy knows that helpers may unwrap, too.
#[cfg(test)]
#[path = "../../core/tests/shared/fuzz.rs"]
mod fuzz;
mod hostile;
mod layer;
mod listener;
mod rest;
#[cfg(test)]
mod transport;

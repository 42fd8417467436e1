//! The platform as its users see it: sockets, TLS, gRPC and REST.

mod decoders;
mod fixtures;
mod hostile;
mod layer;
mod listener;
mod rest;
#[cfg(test)]
mod transport;

//! The platform as its users see it: sockets, TLS, gRPC and REST.

mod decoders;
mod fixtures;
mod head;
mod hostile;
mod layer;
mod listener;
mod rest;

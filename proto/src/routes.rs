//! How methods appear in REST.
//!
//! Owns the table that the gateway routes by, made from the `google.api.http` options. Refuses to
//! know how a path is matched or a body is read.

/// One verb and path of one method. A method may have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestRoute {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub verb: &'static str,
    /// Path with fields of the request in braces; a custom verb follows a colon at the end.
    pub template: &'static str,
    /// `*` when the body is the request, empty when there is no body.
    pub body: &'static str,
    /// `/<package>.<Service>/<Method>`.
    pub grpc_path: &'static str,
    /// Full name of the request message.
    pub input: &'static str,
    /// Full name of the response message.
    pub output: &'static str,
}

/// Routes of all public methods, in the order of their definition; behind them those of our own
/// methods that have one.
pub static REST_ROUTES: &[RestRoute] = include!(concat!(env!("OUT_DIR"), "/rest_routes.rs"));

//! The public methods, and the operations that mutating ones answer with.
//!
//! Owns two tables made from the definitions: what audit and metrics enumerate, and the message
//! types that SDKs expect in an operation (contract §0.3).

/// One public method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodDescriptor {
    /// `/<package>.<Service>/<Method>`.
    pub grpc_path: &'static str,
    /// Full name of the service.
    pub service: &'static str,
    /// Name of the method.
    pub method: &'static str,
    /// Full name of the request message.
    pub input: &'static str,
    /// Full name of the response message.
    pub output: &'static str,
    /// Whether requests come as a stream.
    pub client_streaming: bool,
    /// Whether responses go as a stream.
    pub server_streaming: bool,
}

/// What the operation of one method carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationType {
    /// `/<package>.<Service>/<Method>`.
    pub grpc_path: &'static str,
    /// Full name of the message in `Operation.metadata`.
    pub metadata: &'static str,
    /// Full name of the message in `Operation.response`.
    pub response: &'static str,
}

/// All methods of the public API, in the order of their definition.
pub static METHODS: &[MethodDescriptor] = include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// Types of all methods that answer with an operation.
pub static OPERATION_TYPES: &[OperationType] =
    include!(concat!(env!("OUT_DIR"), "/operation_types.rs"));

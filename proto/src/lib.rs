//! Wire definitions of Lockbox, and what their options say.
//!
//! Owns every message, client and server trait that crosses a socket: the public API (`yandex`),
//! error details (`google`) and the project's own packages (`lockbox`). The options in the `.proto`
//! files (validation, HTTP, operation, sensitivity) are read at build time into code and tables.
//! Promises that a message which can hold a secret prints nothing of it. Knows nothing of what the
//! services do.

pub mod any;
pub mod descriptor;
pub mod operations;
pub mod routes;
pub mod validate;

pub use descriptor::{FILE_DESCRIPTOR_SET, descriptor_pool};
pub use operations::{METHODS, MethodDescriptor, OPERATION_TYPES, OperationType};
pub use routes::{REST_ROUTES, RestRoute};
pub use validate::{Validate, Violation};

/// Error details of the public API.
pub mod google {
    /// `google.rpc`.
    #[allow(missing_docs, unreachable_pub, clippy::all)]
    pub mod rpc {
        include!(concat!(env!("OUT_DIR"), "/google.rpc.rs"));
    }
}

/// The public API.
pub mod yandex {
    /// Root of the public packages.
    pub mod cloud {
        /// `yandex.cloud.access`.
        #[allow(missing_docs, unreachable_pub, clippy::all)]
        pub mod access {
            include!(concat!(env!("OUT_DIR"), "/yandex.cloud.access.rs"));
        }
        /// `yandex.cloud.endpoint`.
        #[allow(missing_docs, unreachable_pub, clippy::all)]
        pub mod endpoint {
            include!(concat!(env!("OUT_DIR"), "/yandex.cloud.endpoint.rs"));
        }
        /// Identities and their credentials.
        pub mod iam {
            /// `yandex.cloud.iam.v1`.
            #[allow(missing_docs, unreachable_pub, clippy::all)]
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/yandex.cloud.iam.v1.rs"));
            }
        }
        /// Symmetric keys.
        pub mod kms {
            /// `yandex.cloud.kms.v1`.
            #[allow(missing_docs, unreachable_pub, clippy::all)]
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/yandex.cloud.kms.v1.rs"));
            }
        }
        /// Secrets.
        pub mod lockbox {
            /// `yandex.cloud.lockbox.v1`.
            #[allow(missing_docs, unreachable_pub, clippy::all)]
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/yandex.cloud.lockbox.v1.rs"));
            }
        }
        /// `yandex.cloud.operation`.
        #[allow(missing_docs, unreachable_pub, clippy::all)]
        pub mod operation {
            include!(concat!(env!("OUT_DIR"), "/yandex.cloud.operation.rs"));
        }
        /// Clouds and folders.
        pub mod resourcemanager {
            /// `yandex.cloud.resourcemanager.v1`.
            #[allow(missing_docs, unreachable_pub, clippy::all)]
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/yandex.cloud.resourcemanager.v1.rs"));
            }
        }
    }
}

/// The project's own packages, between its processes.
pub mod lockbox {
    /// Administration and introspection.
    pub mod cluster {
        /// `lockbox.cluster.v1`.
        #[allow(missing_docs, unreachable_pub, clippy::all)]
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/lockbox.cluster.v1.rs"));
        }
    }
    /// Questions about rights.
    pub mod iam {
        /// `lockbox.iam.v1`.
        #[allow(missing_docs, unreachable_pub, clippy::all)]
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/lockbox.iam.v1.rs"));
        }
    }
    /// What a node tells the KMS.
    pub mod kms {
        /// `lockbox.kms.v1`.
        #[allow(missing_docs, unreachable_pub, clippy::all)]
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/lockbox.kms.v1.rs"));
        }
    }
    /// Consensus and forwarding.
    pub mod peer {
        /// `lockbox.peer.v1`.
        #[allow(missing_docs, unreachable_pub, clippy::all)]
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/lockbox.peer.v1.rs"));
        }
    }
    /// Following changes.
    pub mod watch {
        /// `lockbox.watch.v1`.
        #[allow(missing_docs, unreachable_pub, clippy::all)]
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/lockbox.watch.v1.rs"));
        }
    }
}

/// Generated `Debug` of messages that can hold secrets.
mod redact {
    include!(concat!(env!("OUT_DIR"), "/redact.rs"));
}

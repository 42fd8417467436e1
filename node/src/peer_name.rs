//! Who calls on the listener for peers, by the names of their certificates (`design §7`).
//!
//! The listener has verified the chain; here it is only compared what the names allow. Owns the
//! names that mean something. Knows nothing of what the callers want.

use lockbox_platform::request::RequestContext;
use lockbox_platform::status::{ApiError, ErrorKind, Outcome};

/// The name of the certificate of who forms a cluster, and may do all that an operator may.
pub const ADMIN: &str = "admin.lockbox.internal";
/// The name of the certificate of who operates a running cluster: members, leadership, snapshots.
/// It cannot form a cluster, and so makes no administrator.
pub const OPERATOR: &str = "operator.lockbox.internal";
/// The name of the KMS's certificate.
pub const KMS: &str = "kms.lockbox.internal";

/// A part that a peer can play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Who forms the cluster and makes its first administrator.
    Admin,
    /// Who operates it.
    Operator,
    /// A node of whatever id.
    Node,
    /// The KMS.
    Kms,
}

impl Peer {
    fn is_named(self, name: &str) -> bool {
        match self {
            Self::Admin => name.eq_ignore_ascii_case(ADMIN),
            Self::Operator => name.eq_ignore_ascii_case(OPERATOR),
            Self::Kms => name.eq_ignore_ascii_case(KMS),
            Self::Node => {
                let name = name.to_ascii_lowercase();
                let id =
                    name.strip_prefix("node-").and_then(|n| n.strip_suffix(".lockbox.internal"));
                id.is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
            }
        }
    }
}

/// The name by which the caller is one of these peers.
///
/// # Errors
/// UNAUTHENTICATED without a certificate, PERMISSION_DENIED with another name.
pub fn require(context: &RequestContext, one_of: &[Peer]) -> Result<String, ApiError> {
    let Some(identity) = &context.peer_identity else {
        return Err(ApiError::unauthenticated("the call needs a client certificate"));
    };
    let fits = |name: &&String| one_of.iter().any(|peer| peer.is_named(name));
    identity.dns_names.iter().find(fits).cloned().ok_or_else(|| {
        let message = "the client certificate does not carry a name that may call this";
        ApiError::new(ErrorKind::PermissionDenied, message, Outcome::NotProposed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_count() {
        for (peer, name) in [
            (Peer::Admin, ADMIN),
            (Peer::Operator, OPERATOR),
            (Peer::Kms, KMS),
            (Peer::Node, "Node-12.lockbox.internal"),
        ] {
            assert!(peer.is_named(name));
        }
        for name in [
            "node-.lockbox.internal",
            "node-1a.lockbox.internal",
            "node-1.evil.lockbox.internal",
            "node-1.lockbox.internal.evil",
            "xnode-1.lockbox.internal",
            "xadmin.lockbox.internal",
            "operators.lockbox.internal",
            "kms.lockbox.internal.",
            "*.lockbox.internal",
            "",
        ] {
            assert!(
                ![Peer::Admin, Peer::Operator, Peer::Kms, Peer::Node]
                    .iter()
                    .any(|p| p.is_named(name)),
                "{name}"
            );
        }
    }
}

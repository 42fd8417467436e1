//! What others say of the same delay in their documentation.

/// One of them.
pub(super) struct Peer {
    /// The service.
    pub(super) name: &'static str,
    /// The delay, as documented.
    pub(super) delay: &'static str,
    /// Where.
    pub(super) source: &'static str,
}

/// As read in November 2026.
pub(super) const PEERS: [Peer; 4] = [
    Peer {
        name: "Yandex KMS",
        delay: "up to 3 hours: key deactivation, scheduled destruction, deletion, rotation",
        source: "yandex-cloud/docs en/kms/concepts/consistency.md",
    },
    Peer {
        name: "Google Secret Manager",
        delay: "minutes to hours: eventually consistent, IAM included",
        source: "docs.cloud.google.com/secret-manager/regional-secrets/reference/consistency",
    },
    Peer {
        name: "Vault Enterprise",
        delay: "unbounded on performance standbys: eventually consistent",
        source: "developer.hashicorp.com/vault/docs/enterprise/consistency",
    },
    Peer {
        name: "OpenBao 2.5",
        delay: "unbounded on standbys, by default: eventually consistent",
        source: "openbao release notes 2-5-0.mdx",
    },
];

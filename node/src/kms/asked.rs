//! What the KMS is asked for, by name.

/// What the KMS is asked for; a label of metrics and traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KmsCall {
    /// Wraps a key of the keyring.
    WrapKeyring,
    /// Unwraps one.
    UnwrapKeyring,
    /// Whether a caller may use a key.
    CheckAttach,
    /// Makes a data key.
    GenerateDataKey,
    /// Opens one.
    DecryptDataKey,
    /// Looks an operation up.
    GetOperation,
}

impl KmsCall {
    /// All of them.
    pub(super) const ALL: [Self; 6] = [
        Self::WrapKeyring,
        Self::UnwrapKeyring,
        Self::CheckAttach,
        Self::GenerateDataKey,
        Self::DecryptDataKey,
        Self::GetOperation,
    ];

    /// The label.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::WrapKeyring => "wrap_keyring",
            Self::UnwrapKeyring => "unwrap_keyring",
            Self::CheckAttach => "check_attach",
            Self::GenerateDataKey => "generate_data_key",
            Self::DecryptDataKey => "decrypt_data_key",
            Self::GetOperation => "get_operation",
        }
    }
}

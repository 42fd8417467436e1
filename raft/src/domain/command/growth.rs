//! Which commands make the data grow: those that a disk without much room must not take.

use super::Command;

impl Command {
    /// Whether it brings in more than it takes away. What deletes, destroys, withdraws or locks up
    /// does not, and neither does what the cluster needs to go on; each of these is a few hundred
    /// bytes of log, and room for them is what the watermark leaves.
    #[must_use]
    pub const fn grows(&self) -> bool {
        match self {
            Self::InitCluster(_)
            | Self::CreateSecret(_)
            | Self::AddVersion(_)
            | Self::SetCurrentVersion { .. }
            | Self::UpdateSecret { .. }
            | Self::CreateServiceAccount(_)
            | Self::CreateAuthorizedKey(_)
            | Self::UpdateServiceAccount { .. }
            | Self::UpdateAuthorizedKey { .. }
            | Self::CreateCloud(_)
            | Self::UpdateCloud { .. }
            | Self::CreateFolder(_)
            | Self::UpdateFolder { .. }
            | Self::AddKeyringKey(_)
            | Self::RewrapDataKeys(_)
            | Self::RewrapKeyringKey(_) => true,
            Self::DeleteSecret { .. }
            | Self::SetSecretStatus { .. }
            // Rights are taken away by these, too, and that must not wait for a disk.
            | Self::SetAccessBindings { .. }
            | Self::UpdateAccessBindings { .. }
            | Self::DeleteAuthorizedKey { .. }
            | Self::ScheduleVersionDestruction { .. }
            | Self::CancelVersionDestruction { .. }
            | Self::RevokeToken(_)
            | Self::DeleteServiceAccount { .. }
            | Self::SetServiceAccountStatus { .. }
            | Self::AdvanceTime
            | Self::DestroyVersion(_)
            | Self::RecoverAdmin(_)
            | Self::SetRetention { .. }
            | Self::BeginStateCheck
            | Self::ReportStateHash { .. }
            | Self::ConfirmKeyringKey { .. }
            | Self::StepKeyringKey { .. }
            | Self::AnchorAuditHead(_)
            | Self::ReportReads(_)
            | Self::AttestKms(_)
            | Self::RaiseFeatureLevel { .. } => false,
        }
    }
}

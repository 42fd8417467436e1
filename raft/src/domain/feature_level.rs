//! Feature levels: what all members of a cluster understand, agreed on in the log.
//!
//! During a rolling upgrade nodes of two builds apply the same log. A command that the older build
//! does not know would end it, and a rule of `apply` that it does not have would give it another
//! state. So everything new in the log, or in what `apply` makes of it, has a level, and is used
//! only where the replicated state says that every member understands that level
//! ([`crate::state::tables::feature_level`]). `docs/upgrading.md` says what a new level takes.

use super::command::Command;

/// The highest level that this build understands.
///
/// * 0: the commands and rules of 0.1.0, the first release.
/// * 1: those of 0.2.0: [`Command::RaiseFeatureLevel`] and what came with it.
pub const FEATURE_LEVEL_MAX: u32 = 1;

impl Command {
    /// The level that the cluster must be at for this command to be proposed.
    ///
    /// A command that is new in a build belongs to that build's level; one that was in a release
    /// keeps its level for good.
    #[must_use]
    pub const fn feature_level(&self) -> u32 {
        match self {
            Self::InitCluster(_)
            | Self::CreateSecret(_)
            | Self::AddVersion(_)
            | Self::SetCurrentVersion { .. }
            | Self::UpdateSecret { .. }
            | Self::DeleteSecret { .. }
            | Self::SetSecretStatus { .. }
            | Self::CreateServiceAccount(_)
            | Self::CreateAuthorizedKey(_)
            | Self::SetAccessBindings { .. }
            | Self::UpdateAccessBindings { .. }
            | Self::DeleteAuthorizedKey { .. }
            | Self::UpdateAuthorizedKey { .. }
            | Self::ScheduleVersionDestruction { .. }
            | Self::CancelVersionDestruction { .. }
            | Self::UpdateServiceAccount { .. }
            | Self::DeleteServiceAccount { .. }
            | Self::SetServiceAccountStatus { .. }
            | Self::RevokeToken(_)
            | Self::CreateCloud(_)
            | Self::UpdateCloud { .. }
            | Self::CreateFolder(_)
            | Self::UpdateFolder { .. }
            | Self::AdvanceTime
            | Self::DestroyVersion(_)
            | Self::RecoverAdmin(_)
            | Self::AddKeyringKey(_)
            | Self::ConfirmKeyringKey { .. }
            | Self::StepKeyringKey { .. }
            | Self::RewrapDataKeys(_)
            | Self::RewrapKeyringKey(_)
            | Self::AnchorAuditHead(_)
            | Self::ReportReads(_) => 0,
            // What makes a level is proposed at the level before: each member has said that it
            // understands the new one, and with it this command.
            Self::RaiseFeatureLevel { .. } => 0,
            Self::SetRetention { .. }
            | Self::BeginStateCheck
            | Self::ReportStateHash { .. }
            | Self::AttestKms(_) => 1,
        }
    }
}

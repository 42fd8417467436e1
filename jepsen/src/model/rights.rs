//! Who may do what, as far as bindings on a secret say (`contract §4.2`, `§4.3`).

use crate::history::call::Call;
use crate::history::ids::Subject;

use super::secret::Facts;

/// The roles that let a subject read payloads.
pub const PAYLOAD_ROLES: [&str; 2] = ["lockbox.payloadViewer", "lockbox.admin"];

const VIEWERS: &[&str] = &["lockbox.auditor", "lockbox.viewer", "lockbox.editor", "lockbox.admin"];
const EDITORS: &[&str] = &["lockbox.editor", "lockbox.admin"];
const ADMINS: &[&str] = &["lockbox.admin"];

/// Whether a caller may make a call on a secret. No subject is the run's administrator; a named
/// one has what is bound on the secret and nothing above it.
#[must_use]
pub fn may(facts: &Facts, subject: Option<&Subject>, call: &Call) -> bool {
    let Some(subject) = subject else { return true };
    let roles = match call {
        Call::GetSecret(_) | Call::ListVersions(_) => VIEWERS,
        Call::GetPayload(_) => &PAYLOAD_ROLES,
        Call::AddVersion(_)
        | Call::SetCurrentVersion(_)
        | Call::ScheduleDestruction(_)
        | Call::CancelDestruction(_)
        | Call::Activate(_)
        | Call::Deactivate(_)
        | Call::DeleteSecret(_)
        | Call::UpdateSecret(_) => EDITORS,
        Call::ChangeBinding(_) => ADMINS,
        // Need a role on the folder or on an account, which nobody but the administrator has.
        Call::CreateSecret(_) | Call::ListSecrets(_) | Call::RevokeToken(_) => return false,
    };
    roles.iter().any(|role| facts.bindings.contains(&((*role).to_owned(), subject.clone())))
}

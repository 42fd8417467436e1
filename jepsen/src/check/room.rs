//! Which calls need room on the disks, and which answers say that there is too little of it
//! (`docs/disk.md`).

use crate::history::answer::Code;
use crate::history::call::Call;
use crate::history::op::{Op, Outcome};

/// What a node says that refuses a call for it, among other words. A node that is busy refuses with
/// the same code.
const WORDS: &str = "too little room left";

/// Whether a call was refused because the disks are low: then it was not proposed.
#[must_use]
pub fn is_refused_for_room(op: &Op) -> bool {
    match &op.completed {
        Some((_, Outcome::Fail(failure))) => {
            failure.code == Code::ResourceExhausted && failure.message.contains(WORDS)
        }
        _ => false,
    }
}

/// Whether a call makes the data grow. What deletes, destroys and takes rights away has to go on
/// while disks are low, and so have reads.
#[must_use]
pub const fn grows(call: &Call) -> bool {
    match call {
        Call::CreateSecret(_)
        | Call::AddVersion(_)
        | Call::SetCurrentVersion(_)
        | Call::UpdateSecret(_) => true,
        Call::ScheduleDestruction(_)
        | Call::CancelDestruction(_)
        | Call::Activate(_)
        | Call::Deactivate(_)
        | Call::DeleteSecret(_)
        | Call::ChangeBinding(_)
        | Call::RevokeToken(_)
        | Call::GetSecret(_)
        | Call::ListVersions(_)
        | Call::GetPayload(_)
        | Call::ListSecrets(_) => false,
    }
}

//! The comparison of the replicas' states: which moment, and what each member has found.

use lockbox_core::Subject;

use super::{Application, Refusal};
use crate::domain::command::Envelope;
use crate::domain::outcome::Rejection;
use crate::domain::state_check::{StateCheck, StateReport};
use crate::state::{Space, keys, tables};

/// Begins a comparison: of the state as this entry leaves it. Takes the place of the one before,
/// whether that was decided or not.
pub(super) fn begin(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
) -> Result<(), Refusal> {
    require_cluster(envelope)?;
    let (index, begun_at) = (application.index, application.now);
    let check = StateCheck { index, begun_at, reports: Vec::new() };
    application.put(Space::System, keys::SYSTEM_STATE_CHECK.to_vec(), &check);
    application.state.ask_for_hash();
    Ok(())
}

/// Takes in what a member has found. A report that comes late, twice, or from somebody who is no
/// member comes to nothing.
pub(super) fn report(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    index: u64,
    report: &StateReport,
) -> Result<(), Refusal> {
    require_cluster(envelope)?;
    let check = tables::state_check(application.state)?.filter(|check| check.index == index);
    let Some(mut check) = check else { return Ok(()) };
    let members = tables::member_ids(application.state)?;
    if members.contains(&report.node_id) && check.report(report.clone()) {
        application.put(Space::System, keys::SYSTEM_STATE_CHECK.to_vec(), &check);
    }
    Ok(())
}

fn require_cluster(envelope: &Envelope) -> Result<(), Refusal> {
    if envelope.subject == Subject::internal() {
        return Ok(());
    }
    Err(Rejection::PermissionDenied.into())
}

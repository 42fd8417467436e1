//! What the cluster remembers for its KMS: kept, and nothing else comes of it.

use lockbox_core::Subject;

use super::{Application, Refusal};
use crate::domain::command::Envelope;
use crate::domain::kms_witness::{KmsAttestation, KmsWitness};
use crate::domain::outcome::Rejection;
use crate::state::{Space, StateRead, keys, tables};

/// Notes what the KMS says; the system's alone. What does not count leaves no trace: who told it
/// reads what is known then.
pub(super) fn attest(
    application: &mut Application<'_, '_>,
    envelope: &Envelope,
    told: &KmsAttestation,
) -> Result<(), Refusal> {
    if envelope.subject != Subject::internal() {
        return Err(Rejection::PermissionDenied.into());
    }
    let known = tables::kms_witness(application.state)?;
    let Some(mut witness) = KmsWitness::after(known.as_ref(), told) else { return Ok(()) };
    for tombstone in &told.tombstones {
        let key = keys::kms_tombstone(&tombstone.key_id, tombstone.version_id.as_ref());
        // The first one stands: whoever repeats it knows no better time.
        if application.state.get(Space::Records, &key)?.is_none() {
            application.put(Space::Records, key, tombstone);
            witness.tombstones += 1;
        }
    }
    if known.as_ref() != Some(&witness) {
        application.put(Space::Records, keys::KMS_WITNESS.to_vec(), &witness);
    }
    Ok(())
}

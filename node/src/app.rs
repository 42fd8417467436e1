//! What every handler needs, assembled once at start.

use std::sync::Arc;

use lockbox_core::{Clock, Randomness};
use lockbox_platform::audit::AuditorHandle;
use lockbox_platform::detach::Calls;
use lockbox_platform::health::Readiness;
use lockbox_platform::jwt::AcceptedAudiences;
use lockbox_platform::rate::RateLimits;
use lockbox_raft::Replica;

use crate::authn::Authenticator;
use crate::backup::make::Turn as BackupTurn;
use crate::config::Config;
use crate::keyring::Keyring;
use crate::kms::KmsClient;
use crate::read_meter::ReadMeter;
use crate::rotation::Rotation;
use crate::sealer::Sealer;
use crate::streams::Streams;
use crate::turns::Turns;
use crate::usage::PayloadReads;
use crate::waiting_room::WaitingRoom;

/// The node's parts, shared by its services. No lock is around them.
pub struct App {
    /// Replication: propose and read.
    pub replica: Replica,
    /// The unwrapped keys, or the fact that the node is sealed.
    pub keyring: Keyring,
    /// Who calls.
    pub authenticator: Authenticator,
    /// Plaintext to ciphertext and back.
    pub sealer: Sealer,
    /// The KMS.
    pub kms: KmsClient,
    /// The audit file.
    pub auditor: AuditorHandle,
    /// The JWT audiences that this node accepts.
    pub audiences: AcceptedAudiences,
    /// The configuration.
    pub config: Arc<Config>,
    /// How many requests of one subject are let through.
    pub rate: RateLimits,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub random: Arc<dyn Randomness>,
    /// Whether the process can be of use; health answers by it.
    pub readiness: Readiness,
    /// Whose turn it is to merge onto a secret.
    pub turns: Turns,
    /// Stale reads that wait for an entry which their caller has seen.
    pub catching_up: WaitingRoom,
    /// Calls under way, see [`lockbox_platform::detach`]; joined at shutdown.
    pub calls: Calls,
    /// Streams of changes that are open; ended before the connections at shutdown.
    pub streams: Streams,
    /// How far the rotation of the keyring has come on this node.
    pub rotation: Rotation,
    /// Whose turn it is to make a backup on this node.
    pub backups: BackupTurn,
    /// Completed payload reads of each secret, for its series.
    pub payload_reads: PayloadReads,
    /// Completed payload reads of each cloud, on their way to the meters.
    pub read_meter: ReadMeter,
}

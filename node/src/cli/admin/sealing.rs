//! `lockbox admin seal | unseal`: one node by its id, whichever is named to find it.

use lockbox_core::NodeId;
use lockbox_proto::lockbox::cluster::v1 as wire;
use wire::admin_service_client::AdminServiceClient;

use crate::cli::failure::Failure;
use crate::cli::output::{self, Record};
use crate::cli::peer::PeerTarget;

pub(super) fn seal(target: &PeerTarget<'_>, node: NodeId) -> Result<(), Failure> {
    let answer = target.ask_by_id(node, &wire::SealRequest {}, async |channel, request| {
        AdminServiceClient::new(channel).seal(request).await
    })?;
    output::write(output::one(target.format, &Record::of(&answer)?)?.as_bytes())
}

pub(super) fn unseal(target: &PeerTarget<'_>, node: NodeId) -> Result<(), Failure> {
    let answer = target.ask_by_id(node, &wire::UnsealRequest {}, async |channel, request| {
        AdminServiceClient::new(channel).unseal(request).await
    })?;
    output::write(output::one(target.format, &Record::of(&answer)?)?.as_bytes())
}

//! `lockbox admin seal | unseal`: one node by its id, whichever is named to find it.

use lockbox_core::NodeId;
use lockbox_proto::lockbox::cluster::v1 as wire;
use wire::admin_service_client::AdminServiceClient;

use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{self, Format, Record};
use crate::cli::peer::PeerTarget;

pub(super) fn seal(target: &PeerTarget<'_>, node: NodeId) -> Result<(), Failure> {
    let answer = target.ask_by_id(node, &wire::SealRequest {}, async |channel, request| {
        AdminServiceClient::new(channel).seal(request).await
    })?;
    shown(target, &answer)
}

/// Fails while the node is not open: whoever asks wants it to be.
pub(super) fn unseal(target: &PeerTarget<'_>, node: NodeId) -> Result<(), Failure> {
    let answer = target.ask_by_id(node, &wire::UnsealRequest {}, async |channel, request| {
        AdminServiceClient::new(channel).unseal(request).await
    })?;
    shown(target, &answer)?;
    if answer.sealed {
        let sentence = format_args!("node {node} is not open yet: {}", answer.reason);
        return Err(Failure::new(Exit::Refused, sentence));
    }
    Ok(())
}

fn shown(target: &PeerTarget<'_>, answer: &wire::SealResponse) -> Result<(), Failure> {
    let text = match target.format {
        // What is not so is left out of a record, and "open" is what is asked for here.
        Format::Text if !answer.sealed => format!("node {} is open\n", answer.node_id),
        format => output::one(format, &Record::of(answer)?)?,
    };
    output::write(text.as_bytes())
}

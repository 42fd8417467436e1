//! The sending side of a snapshot: manifest first, then the files as one run of chunks, then a
//! commit. Sends nothing that the manifest does not name.

use std::future::Future;
use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use lockbox_proto::lockbox::peer::v1 as wire;
use openraft::errors::{ReplicationClosed, StreamingError};
use openraft::raft::SnapshotResponse;
use openraft::{ErrorSubject, ErrorVerb};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::client::NetworkContext;
use super::convert;
use super::failure::Call;
use super::link::PeerLink;
use crate::error::StorageError;
use crate::store::{Blocking, SnapshotHandle, encode_snapshot_meta};
use crate::types::{LogId, Snapshot, TypeConfig, Vote};

/// Longest piece of a file in one message.
pub(super) const CHUNK_BYTES_MAX: usize = 1024 * 1024;
/// Chunks read ahead of the network.
const CHUNKS_QUEUED_MAX: usize = 4;

/// One snapshot on its way to one peer.
pub(super) struct Transfer {
    pub(super) link: PeerLink,
    pub(super) call: Call,
    pub(super) vote: Vote,
    /// For the whole transfer with its installation.
    pub(super) budget: Duration,
}

type SendResult = Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>>;

/// Sends a snapshot and waits until it is installed, refused, cancelled or out of time.
pub(super) async fn send(
    context: &NetworkContext,
    transfer: Transfer,
    snapshot: Snapshot,
    cancel: impl Future<Output = ReplicationClosed> + Send,
) -> SendResult {
    let (call, budget) = (transfer.call, transfer.budget);
    let sending = context.sends().begin(call.target, last_index(&snapshot));
    let exchange = async {
        // INVARIANT: the semaphore is never closed; without a permit nothing is sent.
        let _turn = context.sends().turn().await.map_err(|_| {
            StreamingError::Closed(ReplicationClosed::new("no more snapshots are sent"))
        })?;
        exchange(context.blocking(), transfer, snapshot.snapshot).await
    };
    tokio::select! {
        closed = cancel => Err(StreamingError::Closed(closed)),
        result = tokio::time::timeout(budget, exchange) => match result {
            Ok(result) => {
                if result.is_ok() {
                    sending.installed();
                }
                result
            }
            Err(_elapsed) => Err(call.timed_out(budget).into()),
        },
    }
}

/// The last entry that the state in a snapshot reflects.
fn last_index(snapshot: &Snapshot) -> u64 {
    snapshot.meta.last_log_id.as_ref().map_or(0, LogId::index)
}

async fn exchange(blocking: Blocking, transfer: Transfer, handle: SnapshotHandle) -> SendResult {
    let Transfer { link, call, vote, budget: _ } = transfer;
    let header = link.header().await.map_err(|status| call.failed(&status))?;
    let opening = wire::SnapshotHeader {
        header: Some(header),
        vote: Some(convert::vote_to_wire(&vote)),
        meta: encode_snapshot_meta(handle.meta()),
        manifest: handle.manifest().to_json(),
    };
    let (chunks, queued) = mpsc::channel(CHUNKS_QUEUED_MAX);
    let mut client = link.raft();
    // The reading ends by itself when the call has dropped its end of the queue.
    let (read, answer) = tokio::join!(
        read_files(blocking, &handle, opening, chunks),
        client.install_snapshot(ReceiverStream::new(queued)),
    );
    read.map_err(unreadable)?;
    let reply = answer.map_err(|status| {
        link.saw(&status);
        call.failed(&status)
    })?;
    let vote = convert::required_vote(reply.into_inner().vote.as_ref())
        .map_err(|error| call.malformed(&error))?;
    Ok(SnapshotResponse::new(vote))
}

/// Reads the files in the order of the manifest. A receiver that is gone is no error here: the
/// call itself says why.
async fn read_files(
    blocking: Blocking,
    handle: &SnapshotHandle,
    opening: wire::SnapshotHeader,
    chunks: mpsc::Sender<wire::SnapshotChunk>,
) -> Result<(), StorageError> {
    use wire::snapshot_chunk::Part;
    let send = async |part: Part| chunks.send(wire::SnapshotChunk { part: Some(part) }).await;
    if send(Part::Header(opening)).await.is_err() {
        return Ok(());
    }
    for (file, listed) in (0_u32..).zip(handle.manifest().files()) {
        let mut source = handle.open_file(listed)?;
        let mut offset = 0;
        while offset < listed.bytes {
            let left = listed.bytes - offset;
            let read = move || read_chunk(&mut source, left).map(|data| (source, data));
            let data;
            (source, data) = blocking.run(read).await?;
            let length = data.len() as u64;
            if send(Part::Data(wire::SnapshotData { file, offset, data })).await.is_err() {
                return Ok(());
            }
            offset += length;
        }
    }
    // A failure to send means the receiver is gone, see above.
    let _receiver_gone = send(Part::Commit(wire::SnapshotCommit {})).await.is_err();
    Ok(())
}

/// Reads a full chunk, or what is left of the file. A file that is shorter than its manifest says
/// is an error: the receiver would wait for the rest.
fn read_chunk(source: &mut impl Read, left: u64) -> Result<Bytes, StorageError> {
    let length = usize::try_from(left).map_or(CHUNK_BYTES_MAX, |left| left.min(CHUNK_BYTES_MAX));
    let mut chunk = vec![0; length];
    let read = source.read_exact(&mut chunk);
    read.map_err(|error| StorageError::io("read a snapshot", &error))?;
    Ok(chunk.into())
}

/// A snapshot of our own that cannot be read: this node's disk, and therefore the end of it.
fn unreadable(error: StorageError) -> StreamingError<TypeConfig> {
    let subject = ErrorSubject::Snapshot(None);
    openraft::StorageError::from_io_error(subject, ErrorVerb::Read, error.into()).into()
}

/// A snapshot stream that the receiver cannot follow.
pub(super) fn out_of_order(what: &str) -> Status {
    Status::invalid_argument(format!("snapshot stream: {what}"))
}

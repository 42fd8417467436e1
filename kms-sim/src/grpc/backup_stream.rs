//! A backup on its way to an operator: written by a thread, sent in pieces, no faster than they are
//! taken.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use lockbox_proto::lockbox::kms::v1::BackupChunk;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::Edge;
use crate::backup;

/// Pieces that wait for the operator.
const PIECES_MAX: usize = 4;
/// Length of a piece, in bytes.
const PIECE_BYTES: usize = 128 << 10;

/// The pieces of a backup, in their order.
pub(super) type Chunks = ReceiverStream<Result<BackupChunk, Status>>;

/// Begins a backup; it ends when it is whole, or when nobody takes it any more.
pub(super) fn begin(edge: &Arc<Edge>) -> Chunks {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let engine = Arc::clone(&edge.engine);
    // Joined with the calls.
    let work = edge.calls.spawn_blocking(move || {
        let mut pieces = BufWriter::with_capacity(PIECE_BYTES, Pieces(sender.clone()));
        let written = backup::write(&engine, &mut pieces);
        match written {
            Ok(written) => tracing::info!(head = written.head, "an operator was sent a backup"),
            Err(error) => {
                tracing::error!(%error, "a backup for an operator broke off");
                // Whoever has gone away needs no answer.
                sender.blocking_send(Err(Status::internal("the backup broke off"))).ok();
            }
        }
    });
    drop(work);
    ReceiverStream::new(receiver)
}

/// What is written here is sent.
struct Pieces(mpsc::Sender<Result<BackupChunk, Status>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = BackupChunk { sealed: bytes.to_vec() };
        let sent = self.0.blocking_send(Ok(piece));
        sent.map_err(|_gone| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

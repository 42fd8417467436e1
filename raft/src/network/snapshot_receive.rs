//! The receiving side of a snapshot: takes exactly the bytes that the manifest announces, in
//! order, and hands over only what was committed and verified.

use std::time::Duration;

use lockbox_proto::lockbox::peer::v1 as wire;
use tonic::{Status, Streaming};
use wire::snapshot_chunk::Part;

use super::snapshot_send::{CHUNK_BYTES_MAX, out_of_order};
use crate::error::{StorageError, StorageFailure};
use crate::store::{Blocking, Manifest, SnapshotHandle, SnapshotInbox};

/// How long the next chunk may take: a sender that vanished must not hold the inbox.
const CHUNK_WAIT_MAX: Duration = Duration::from_secs(30);

/// Reads the message that opens the stream.
pub(super) async fn opening(
    stream: &mut Streaming<wire::SnapshotChunk>,
) -> Result<wire::SnapshotHeader, Status> {
    match next_part(stream).await? {
        Part::Header(header) => Ok(header),
        Part::Data(_) | Part::Commit(_) => Err(out_of_order("does not begin with a header")),
    }
}

/// Receives the files and verifies them against the manifest.
pub(super) async fn files(
    inbox: &SnapshotInbox,
    manifest: Manifest,
    stream: &mut Streaming<wire::SnapshotChunk>,
) -> Result<SnapshotHandle, Status> {
    let mut place = Place::start(&manifest);
    let blocking = inbox.blocking();
    let inbox = inbox.clone();
    let mut receiver = file_work(blocking, move || inbox.receive(manifest)).await?;
    loop {
        match next_part(stream).await? {
            Part::Header(_) => return Err(out_of_order("has a second header")),
            Part::Data(chunk) => {
                place.advance(&chunk)?;
                let append = move || receiver.append(&chunk.data).map(|()| receiver);
                receiver = file_work(blocking, append).await?;
            }
            Part::Commit(wire::SnapshotCommit {}) if place.at_end() => break,
            Part::Commit(wire::SnapshotCommit {}) => {
                return Err(out_of_order("is committed before its end"));
            }
        }
    }
    file_work(blocking, move || receiver.finish()).await
}

async fn next_part(stream: &mut Streaming<wire::SnapshotChunk>) -> Result<Part, Status> {
    match tokio::time::timeout(CHUNK_WAIT_MAX, stream.message()).await {
        Ok(Ok(Some(chunk))) => chunk.part.ok_or_else(|| out_of_order("has an empty message")),
        Ok(Ok(None)) => Err(out_of_order("ends without a commit")),
        Ok(Err(status)) => Err(status),
        Err(_elapsed) => Err(Status::deadline_exceeded("the next snapshot chunk did not come")),
    }
}

/// Runs file work where it may block.
async fn file_work<T: Send + 'static>(
    blocking: Blocking,
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, Status> {
    blocking.run(work).await.map_err(|error| refused(&error))
}

/// A failed transfer is the transfer's own end, not this node's: a disk that is really broken
/// shows in the log and the state.
fn refused(error: &StorageError) -> Status {
    match error.failure {
        StorageFailure::Corrupt => Status::data_loss(error.to_string()),
        StorageFailure::DiskFull => Status::resource_exhausted(error.to_string()),
        StorageFailure::Io
        | StorageFailure::WrongIdentity
        | StorageFailure::StoreLost
        | StorageFailure::Diverged => Status::aborted(error.to_string()),
    }
}

/// Where in the files the next byte belongs.
struct Place {
    lengths: Vec<u64>,
    file: usize,
    offset: u64,
}

impl Place {
    fn start(manifest: &Manifest) -> Self {
        let lengths = manifest.files().iter().map(|file| file.bytes).collect();
        let mut place = Self { lengths, file: 0, offset: 0 };
        place.skip_finished();
        place
    }

    /// Steps over files that are complete; an empty one has no chunk.
    fn skip_finished(&mut self) {
        while self.lengths.get(self.file) == Some(&self.offset) {
            self.file += 1;
            self.offset = 0;
        }
    }

    fn advance(&mut self, chunk: &wire::SnapshotData) -> Result<(), Status> {
        let Some(&length) = self.lengths.get(self.file) else {
            return Err(out_of_order("is longer than its manifest says"));
        };
        let expected = chunk.file as usize == self.file && chunk.offset == self.offset;
        if !expected || chunk.data.is_empty() || chunk.data.len() > CHUNK_BYTES_MAX {
            return Err(out_of_order("has a chunk out of place"));
        }
        let end = self.offset + chunk.data.len() as u64;
        if end > length {
            return Err(out_of_order("has a file longer than its manifest says"));
        }
        self.offset = end;
        self.skip_finished();
        Ok(())
    }

    fn at_end(&self) -> bool {
        self.file == self.lengths.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(file: u32, offset: u64, length: usize) -> wire::SnapshotData {
        wire::SnapshotData { file, offset, data: vec![0; length].into() }
    }

    fn place(lengths: &[u64]) -> Place {
        let mut place = Place { lengths: lengths.to_vec(), file: 0, offset: 0 };
        place.skip_finished();
        place
    }

    #[test]
    fn chunks_must_follow_each_other_through_the_files() {
        let mut place = place(&[0, 5, 0, 3, 0]);
        place.advance(&chunk(1, 0, 2)).unwrap();
        place.advance(&chunk(1, 2, 3)).unwrap();
        assert!(!place.at_end());
        place.advance(&chunk(3, 0, 3)).unwrap();
        assert!(place.at_end());
        assert!(place.advance(&chunk(4, 0, 1)).is_err());
    }

    #[test]
    fn a_gap_an_overrun_and_an_empty_chunk_are_refused() {
        assert!(place(&[5]).advance(&chunk(0, 1, 2)).is_err());
        assert!(place(&[5]).advance(&chunk(1, 0, 2)).is_err());
        assert!(place(&[5]).advance(&chunk(0, 0, 6)).is_err());
        assert!(place(&[5]).advance(&chunk(0, 0, 0)).is_err());
        assert!(place(&[0, 0]).at_end());
    }
}

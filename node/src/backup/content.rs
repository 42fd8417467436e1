//! What is inside a backup: a head, rows, and an end that signs for all of it.
//!
//! ```text
//! items: kind (1 byte), length (4 bytes, big-endian), a record of [`lockbox_core::codec`]
//! ```
//!
//! The end has the SHA-256 of every byte before it, signed by the cluster. Fields are numbered, so a
//! later build adds some that this one skips; a format that this one does not know is refused.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use lockbox_core::{ClusterId, LogTime, NodeId};
use lockbox_platform::sealed_file::{OpenedFile, SealedBy, SealingWriter};
use lockbox_platform::statement::{SIGNER_BYTES, StatementSigner, is_signed};
use lockbox_raft::domain::codec;
use lockbox_raft::state::{Row, Space};
use lockbox_raft::store::{ExportPoint, ExportSink, FORMAT_VERSION as STATE_FORMAT};
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use super::{BackupError, names, signer};

/// What the sealed file says that it is.
pub const KIND: &str = "backup of a Lockbox cluster";
/// The format of the content that this build writes, and the newest that it reads.
pub const CONTENT_FORMAT: u32 = 1;
/// The first format of the state that backups were made of: there is none of an earlier one.
const FIRST_STATE_FORMAT: u32 = 3;

const HEAD: u8 = 1;
const ROWS: u8 = 2;
const END: u8 = 3;
/// Kind and length.
const ITEM_HEADER_BYTES: usize = 5;
/// An item is ended once its rows have so many bytes.
const ITEM_BYTES: usize = 1 << 20;
/// And has never more than this: one row is smaller by far.
const ITEM_BYTES_MAX: usize = 64 << 20;

/// Of what a backup is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BackupHead {
    /// The format of the content.
    #[n(0)]
    pub format: u32,
    /// The format of the state: what the rows mean.
    #[n(1)]
    pub state_format: u32,
    /// The cluster.
    #[n(2)]
    pub cluster_id: ClusterId,
    /// The node that made it.
    #[n(3)]
    pub node_id: NodeId,
    /// The last entry in it.
    #[n(4)]
    pub index: u64,
    /// Its term.
    #[n(5)]
    pub term: u64,
    /// Its log time: what came later is not in it.
    #[n(6)]
    pub log_time: LogTime,
    /// The node's own clock.
    #[n(7)]
    pub made_at: LogTime,
    /// How many erasures there were.
    #[n(8)]
    pub erasures: u64,
    /// The members of the cluster.
    #[n(9)]
    pub members: Vec<NodeId>,
    /// The build that made it.
    #[n(10)]
    pub build: String,
}

#[derive(Encode, Decode)]
struct RowItem {
    #[cbor(n(0), with = "minicbor::bytes")]
    key: Vec<u8>,
    #[cbor(n(1), with = "minicbor::bytes")]
    value: Vec<u8>,
}

#[derive(Encode, Decode)]
struct RowsItem {
    #[n(0)]
    space: u8,
    #[n(1)]
    rows: Vec<RowItem>,
}

/// The end of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BackupEnd {
    /// Rows in all.
    #[n(0)]
    pub rows: u64,
    /// SHA-256 of all before.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub sha256: [u8; 32],
    /// The half of the cluster's key that verifies.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub signer: [u8; SIGNER_BYTES],
    /// Its signature of the hash.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub signature: Vec<u8>,
}

/// One item.
pub enum Item {
    /// The first one.
    Head(Box<BackupHead>),
    /// Rows of a space.
    Rows(Space, Vec<Row>),
    /// The last one; it fits what came before, and is signed by whom it names.
    End(BackupEnd),
}

/// The byte of a space. A byte is never given to another one once a release has written it.
const fn space_byte(space: Space) -> u8 {
    match space {
        Space::Records => 0,
        Space::Payloads => 1,
        Space::System => 2,
    }
}

/// Who makes a backup, and when.
#[derive(Debug, Clone, Copy)]
pub struct Maker {
    /// The node.
    pub node_id: NodeId,
    /// Its clock.
    pub made_at: LogTime,
}

/// Writes what a replica exports.
pub struct ContentWriter<W: Write> {
    /// Until the first item.
    begin: Option<(W, SealedBy)>,
    /// In a box: futures that carry the writer stay small.
    file: Option<Box<SealingWriter<W>>>,
    maker: Maker,
    head: Option<BackupHead>,
    hash: Sha256,
    rows: u64,
}

/// A backup that is written whole.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its head.
    pub head: BackupHead,
    /// Its end.
    pub end: BackupEnd,
    /// The length of the file.
    pub bytes: u64,
}

impl<W: Write> ContentWriter<W> {
    /// One that begins a file with the first item.
    pub fn new(output: W, sealed_by: SealedBy, maker: Maker) -> Self {
        let (hash, rows) = (Sha256::new(), 0);
        Self { begin: Some((output, sealed_by)), file: None, maker, head: None, hash, rows }
    }

    /// Ends the file; gives the output back.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn finish(mut self, signer: &StatementSigner) -> Result<(W, Written), BackupError> {
        let sha256: [u8; 32] = self.hash.clone().finalize().into();
        let signature = signer.sign(signer::OF_BACKUP, &sha256);
        let end = BackupEnd { rows: self.rows, sha256, signer: signer.public_key(), signature };
        self.item(END, &end)?;
        let (Some(file), Some(head)) = (self.file, self.head) else {
            return Err(BackupError::NotInitialised);
        };
        let (output, bytes) = file.finish()?;
        Ok((output, Written { head, end, bytes }))
    }

    fn item<T: Encode<()>>(&mut self, kind: u8, item: &T) -> Result<(), BackupError> {
        let encoded = codec::encode(item);
        let Some(file) = &mut self.file else { return Err(BackupError::NotInitialised) };
        // It is bounded far below.
        let header = [&[kind][..], &(encoded.len() as u32).to_be_bytes()].concat();
        for part in [header.as_slice(), encoded.as_slice()] {
            self.hash.update(part);
            file.write(part)?;
        }
        Ok(())
    }
}

/// What anybody may read of a backup.
fn about(head: &BackupHead) -> BTreeMap<String, String> {
    let fields = [
        ("cluster_id", head.cluster_id.to_string()),
        ("node_id", head.node_id.to_string()),
        ("index", head.index.to_string()),
        ("log_time", names::readable(head.log_time)),
        ("made_at", names::readable(head.made_at)),
        ("build", head.build.clone()),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

impl<W: Write> ExportSink for ContentWriter<W> {
    type Error = BackupError;

    fn begin(&mut self, point: &ExportPoint) -> Result<(), BackupError> {
        let cluster = point.cluster.as_ref().ok_or(BackupError::NotInitialised)?;
        let head = BackupHead {
            format: CONTENT_FORMAT,
            state_format: STATE_FORMAT,
            cluster_id: cluster.id.clone(),
            node_id: self.maker.node_id,
            index: point.applied.index,
            term: point.applied.term,
            log_time: point.log_time,
            made_at: self.maker.made_at,
            erasures: point.erasures,
            members: point.members.clone(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let (output, sealed_by) = self.begin.take().ok_or(BackupError::Content("two heads"))?;
        let file = SealingWriter::begin(output, KIND, about(&head), sealed_by)?;
        self.file = Some(Box::new(file));
        self.item(HEAD, &head)?;
        self.head = Some(head);
        Ok(())
    }

    fn rows(&mut self, space: Space, rows: Vec<Row>) -> Result<(), BackupError> {
        let mut item = RowsItem { space: space_byte(space), rows: Vec::new() };
        let mut bytes = 0;
        for (key, value) in rows {
            self.rows += 1;
            bytes += key.len() + value.len();
            item.rows.push(RowItem { key, value });
            if bytes >= ITEM_BYTES {
                self.item(ROWS, &item)?;
                item.rows.clear();
                bytes = 0;
            }
        }
        if item.rows.is_empty() { Ok(()) } else { self.item(ROWS, &item) }
    }
}

/// Reads the items of a backup.
pub struct ContentReader<R: Read> {
    file: OpenedFile<R>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are read.
    read: usize,
    hash: Sha256,
    rows: u64,
    has_head: bool,
    has_end: bool,
}

impl<R: Read> ContentReader<R> {
    /// One of a file that is open.
    pub fn new(file: OpenedFile<R>) -> Self {
        let (buffer, hash) = (Vec::new(), Sha256::new());
        Self { file, buffer, read: 0, hash, rows: 0, has_head: false, has_end: false }
    }

    /// The next item; nothing at the end of the file.
    ///
    /// # Errors
    /// [`BackupError`]: what came before must not be used, either.
    pub fn next_item(&mut self) -> Result<Option<Item>, BackupError> {
        if self.has_end {
            if self.fill(1)? {
                return Err(BackupError::Content("something follows its end"));
            }
            return Ok(None);
        }
        if !self.fill(ITEM_HEADER_BYTES)? {
            return Err(BackupError::Content("it has no end"));
        }
        let header = &self.buffer[self.read..self.read + ITEM_HEADER_BYTES];
        let kind = header[0];
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if length > ITEM_BYTES_MAX {
            return Err(BackupError::Content("an item is too long"));
        }
        let whole = ITEM_HEADER_BYTES + length;
        if !self.fill(whole)? {
            return Err(BackupError::Content("an item ends early"));
        }
        let item = self.read..self.read + whole;
        self.read += whole;
        let sha256: [u8; 32] = self.hash.clone().finalize().into();
        let item = &self.buffer[item];
        self.hash.update(item);
        let encoded = &item[ITEM_HEADER_BYTES..];
        match (kind, self.has_head) {
            (HEAD, false) => {
                let head = read_head(encoded)?;
                self.has_head = true;
                Ok(Some(Item::Head(Box::new(head))))
            }
            (ROWS, true) => {
                let (space, rows) = read_rows(encoded)?;
                self.rows += rows.len() as u64;
                Ok(Some(Item::Rows(space, rows)))
            }
            (END, true) => {
                let end: BackupEnd = decode(encoded)?;
                if end.sha256 != sha256 || end.rows != self.rows {
                    return Err(BackupError::Content("it is not what its end says"));
                }
                if !is_signed(&end.signer, signer::OF_BACKUP, &sha256, &end.signature) {
                    return Err(BackupError::Signature("it does not fit the content"));
                }
                self.has_end = true;
                Ok(Some(Item::End(end)))
            }
            (_, false) => Err(BackupError::Content("it does not begin with a head")),
            (_, true) => Err(BackupError::Content("an item is of no kind that this build knows")),
        }
    }

    /// Makes sure that so many bytes are there to read; false when the file has fewer.
    fn fill(&mut self, bytes: usize) -> Result<bool, BackupError> {
        while self.buffer.len() - self.read < bytes {
            let Some(chunk) = self.file.next_chunk()? else { return Ok(false) };
            self.buffer.drain(..self.read);
            self.read = 0;
            self.buffer.extend(chunk);
        }
        Ok(true)
    }
}

fn decode<T: for<'b> Decode<'b, ()>>(encoded: &[u8]) -> Result<T, BackupError> {
    codec::decode(encoded).map_err(|_error| BackupError::Content("an item does not decode"))
}

fn read_head(encoded: &[u8]) -> Result<BackupHead, BackupError> {
    let head: BackupHead = decode(encoded)?;
    if head.format != CONTENT_FORMAT {
        let (what, found, newest) = ("content", head.format, CONTENT_FORMAT);
        return Err(BackupError::Format { what, found, newest });
    }
    if !(FIRST_STATE_FORMAT..=STATE_FORMAT).contains(&head.state_format) {
        let (what, found, newest) = ("state", head.state_format, STATE_FORMAT);
        return Err(BackupError::Format { what, found, newest });
    }
    Ok(head)
}

fn read_rows(encoded: &[u8]) -> Result<(Space, Vec<Row>), BackupError> {
    let RowsItem { space, rows } = decode(encoded)?;
    let space = Space::ALL.into_iter().find(|known| space_byte(*known) == space);
    let space = space.ok_or(BackupError::Content("rows are of no space that this build knows"))?;
    Ok((space, rows.into_iter().map(|row| (row.key, row.value)).collect()))
}

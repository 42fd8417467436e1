//! The stored and transmitted form of log entries and of the records beside them.
//!
//! An entry is a format byte, a CRC-32C of all that follows, its term and index, the kind of its
//! payload and the payload itself; proposals stay a slice of the encoded bytes. Everything else
//! is a record of [`crate::domain::codec`]. The same value always has the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};
use lockbox_core::NodeId;
use minicbor::{Decode, Encode};
use openraft::{EntryPayload, Membership};

use crate::domain::codec;
use crate::error::StorageError;
use crate::types::{
    LogEntry, LogId, Member, Proposal, SnapshotMeta, StoreId, StoredMembership, Vote,
};

/// The entry format that this build writes, and the only one that it reads.
pub const ENTRY_FORMAT: u8 = 1;

const CHECKSUM_END: usize = 5;
const KIND_AT: usize = CHECKSUM_END + 16;
const HEADER_BYTES: usize = KIND_AT + 1;

// Kinds of payload. A byte is never given another meaning once a release has written it.
const KIND_BLANK: u8 = 0;
const KIND_PROPOSAL: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;

#[derive(Encode, Decode)]
struct LogIdRecord {
    #[n(0)]
    term: u64,
    #[n(1)]
    index: u64,
}

#[derive(Encode, Decode)]
struct VoteRecord {
    #[n(0)]
    term: u64,
    #[n(1)]
    node_id: NodeId,
    #[n(2)]
    committed: bool,
}

#[derive(Encode, Decode)]
struct MemberRecord {
    #[n(0)]
    peer_address: String,
    #[n(1)]
    api_address: String,
    #[cbor(n(2), with = "minicbor::bytes")]
    store_id: [u8; 16],
}

#[derive(Encode, Decode)]
struct MembershipRecord {
    #[n(0)]
    voters: Vec<Vec<NodeId>>,
    #[n(1)]
    members: BTreeMap<NodeId, MemberRecord>,
}

#[derive(Encode, Decode)]
struct StoredMembershipRecord {
    #[n(0)]
    log_id: Option<LogIdRecord>,
    #[n(1)]
    membership: MembershipRecord,
}

#[derive(Encode, Decode)]
struct SnapshotMetaRecord {
    #[n(0)]
    last_log_id: Option<LogIdRecord>,
    #[n(1)]
    last_membership: StoredMembershipRecord,
}

/// Encodes a log entry.
#[must_use]
pub fn encode_entry(entry: &LogEntry) -> Bytes {
    let mut encoded = BytesMut::with_capacity(HEADER_BYTES + payload_bytes(entry));
    encoded.put_u8(ENTRY_FORMAT);
    encoded.put_u32(0);
    encoded.put_u64(term_of(&entry.log_id));
    encoded.put_u64(entry.log_id.index);
    match &entry.payload {
        EntryPayload::Blank => encoded.put_u8(KIND_BLANK),
        EntryPayload::Normal(proposal) => {
            encoded.put_u8(KIND_PROPOSAL);
            encoded.extend_from_slice(&proposal.0);
        }
        EntryPayload::Membership(membership) => {
            encoded.put_u8(KIND_MEMBERSHIP);
            encoded.extend_from_slice(&codec::encode(&membership_record(membership)));
        }
    }
    let checksum = crc32c::crc32c(&encoded[CHECKSUM_END..]);
    encoded[1..CHECKSUM_END].copy_from_slice(&checksum.to_be_bytes());
    encoded.freeze()
}

fn payload_bytes(entry: &LogEntry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(proposal) => proposal.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

/// Decodes what [`encode_entry`] wrote; a proposal shares the memory of `encoded`.
///
/// # Errors
/// [`StorageError`] (corrupt) naming the index as far as it can be read.
pub fn decode_entry(encoded: &Bytes) -> Result<LogEntry, StorageError> {
    let Some(header) = encoded.first_chunk::<HEADER_BYTES>() else {
        return Err(corrupt_entry("an entry is shorter than its header"));
    };
    let term = number_at(header, CHECKSUM_END);
    let index = number_at(header, CHECKSUM_END + 8);
    if header[0] != ENTRY_FORMAT {
        let found = header[0];
        return Err(corrupt_entry(format!("an entry has format {found}, not {ENTRY_FORMAT}")));
    }
    let stored = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    if crc32c::crc32c(&encoded[CHECKSUM_END..]) != stored {
        return Err(corrupt_entry(format!("entry {index} has a wrong checksum")));
    }
    let payload = match header[KIND_AT] {
        KIND_BLANK => EntryPayload::Blank,
        KIND_PROPOSAL => EntryPayload::Normal(Proposal(encoded.slice(HEADER_BYTES..))),
        KIND_MEMBERSHIP => {
            let record: MembershipRecord = decode(&encoded[HEADER_BYTES..])?;
            EntryPayload::Membership(membership(record)?)
        }
        kind => return Err(corrupt_entry(format!("entry {index} has the unknown kind {kind}"))),
    };
    Ok(openraft::entry::Entry { log_id: LogId::new_term_index(term, index), payload })
}

fn number_at(header: &[u8; HEADER_BYTES], at: usize) -> u64 {
    header[at..at + 8].iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn corrupt_entry(message: impl Into<String>) -> StorageError {
    StorageError::corrupt("decode a log entry", message)
}

/// Encodes a log id.
#[must_use]
pub fn encode_log_id(id: &LogId) -> Vec<u8> {
    codec::encode(&log_id_record(id))
}

/// Decodes what [`encode_log_id`] wrote.
///
/// # Errors
/// [`StorageError`] (corrupt).
pub fn decode_log_id(encoded: &[u8]) -> Result<LogId, StorageError> {
    decode(encoded).map(|record| log_id(&record))
}

/// Encodes a vote.
#[must_use]
pub fn encode_vote(vote: &Vote) -> Vec<u8> {
    codec::encode(&VoteRecord {
        term: vote.leader_id.term,
        node_id: vote.leader_id.voted_for,
        committed: vote.committed,
    })
}

/// Decodes what [`encode_vote`] wrote.
///
/// # Errors
/// [`StorageError`] (corrupt).
pub fn decode_vote(encoded: &[u8]) -> Result<Vote, StorageError> {
    let record: VoteRecord = decode(encoded)?;
    let mut vote = Vote::new(record.term, record.node_id);
    vote.committed = record.committed;
    Ok(vote)
}

/// Encodes a membership with the id of the entry that set it.
#[must_use]
pub fn encode_membership(stored: &StoredMembership) -> Vec<u8> {
    codec::encode(&stored_membership_record(stored))
}

/// Decodes what [`encode_membership`] wrote.
///
/// # Errors
/// [`StorageError`] (corrupt).
pub fn decode_membership(encoded: &[u8]) -> Result<StoredMembership, StorageError> {
    stored_membership(decode(encoded)?)
}

/// Encodes what a snapshot contains.
#[must_use]
pub fn encode_snapshot_meta(meta: &SnapshotMeta) -> Vec<u8> {
    codec::encode(&SnapshotMetaRecord {
        last_log_id: meta.last_log_id.as_ref().map(log_id_record),
        last_membership: stored_membership_record(&meta.last_membership),
    })
}

/// Decodes what [`encode_snapshot_meta`] wrote.
///
/// # Errors
/// [`StorageError`] (corrupt).
pub fn decode_snapshot_meta(encoded: &[u8]) -> Result<SnapshotMeta, StorageError> {
    let record: SnapshotMetaRecord = decode(encoded)?;
    Ok(SnapshotMeta {
        last_log_id: record.last_log_id.as_ref().map(log_id),
        last_membership: stored_membership(record.last_membership)?,
    })
}

/// The term in which an entry was proposed.
pub(super) fn term_of(id: &LogId) -> u64 {
    id.leader_id.term
}

fn decode<T: for<'b> Decode<'b, ()>>(encoded: &[u8]) -> Result<T, StorageError> {
    codec::decode(encoded)
        .map_err(|error| StorageError::corrupt("decode a consensus record", error.to_string()))
}

fn log_id_record(id: &LogId) -> LogIdRecord {
    LogIdRecord { term: term_of(id), index: id.index }
}

fn log_id(record: &LogIdRecord) -> LogId {
    LogId::new_term_index(record.term, record.index)
}

type MembershipOf = Membership<NodeId, Member>;

fn membership_record(membership: &MembershipOf) -> MembershipRecord {
    let voters = membership.get_joint_config().iter();
    let members = membership.nodes().map(|(id, member)| {
        let (peer_address, api_address) = (member.peer_address.clone(), member.api_address.clone());
        (*id, MemberRecord { peer_address, api_address, store_id: *member.store_id.as_bytes() })
    });
    MembershipRecord {
        voters: voters.map(|config| config.iter().copied().collect()).collect(),
        members: members.collect(),
    }
}

fn membership(record: MembershipRecord) -> Result<MembershipOf, StorageError> {
    let voters: Vec<BTreeSet<NodeId>> =
        record.voters.into_iter().map(|config| config.into_iter().collect()).collect();
    let members: BTreeMap<NodeId, Member> = record
        .members
        .into_iter()
        .map(|(id, MemberRecord { peer_address, api_address, store_id })| {
            let store_id = StoreId::from_bytes(store_id);
            (id, Member { peer_address, api_address, store_id })
        })
        .collect();
    Membership::new(voters, members)
        .map_err(|error| StorageError::corrupt("decode a membership", error.to_string()))
}

fn stored_membership_record(stored: &StoredMembership) -> StoredMembershipRecord {
    StoredMembershipRecord {
        log_id: stored.log_id().as_ref().map(log_id_record),
        membership: membership_record(stored.membership()),
    }
}

fn stored_membership(record: StoredMembershipRecord) -> Result<StoredMembership, StorageError> {
    let id = record.log_id.as_ref().map(log_id);
    Ok(openraft::StoredMembership::new(id, membership(record.membership)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(ids: &[NodeId]) -> BTreeMap<NodeId, Member> {
        let member = |id: &NodeId| Member {
            peer_address: format!("peer-{id}:1"),
            api_address: format!("api-{id}:2"),
            store_id: StoreId::from_bytes([*id as u8; 16]),
        };
        ids.iter().map(|id| (*id, member(id))).collect()
    }

    fn joint() -> MembershipOf {
        let voters = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])];
        Membership::new(voters, members(&[1, 2, 3, 4, 9])).unwrap()
    }

    fn payload() -> impl Strategy<Value = EntryPayload<Proposal, NodeId, Member>> {
        prop_oneof![
            Just(EntryPayload::Blank),
            proptest::collection::vec(any::<u8>(), 0..64)
                .prop_map(|bytes| EntryPayload::Normal(Proposal(bytes.into()))),
            Just(EntryPayload::Membership(joint())),
        ]
    }

    proptest! {
        #[test]
        fn entries_come_back(term: u64, index: u64, payload in payload()) {
            let log_id = LogId::new_term_index(term, index);
            let entry = LogEntry { log_id, payload };
            let encoded = encode_entry(&entry);
            prop_assert_eq!(&encoded, &encode_entry(&entry));
            let decoded = decode_entry(&encoded).unwrap();
            prop_assert_eq!(decoded.log_id, entry.log_id);
            prop_assert!(decoded.payload == entry.payload);
        }

        #[test]
        fn any_changed_byte_is_refused(
            payload in payload(),
            at: prop::sample::Index,
            flip in 1..=255_u8,
        ) {
            let entry = LogEntry { log_id: LogId::new_term_index(3, 77), payload };
            let mut encoded = encode_entry(&entry).to_vec();
            let at = at.index(encoded.len());
            encoded[at] ^= flip;
            prop_assert!(decode_entry(&encoded.into()).is_err());
        }
    }

    #[test]
    fn a_wrong_checksum_names_the_entry() {
        let entry = LogEntry { log_id: LogId::new_term_index(3, 77), payload: EntryPayload::Blank };
        let mut encoded = encode_entry(&entry).to_vec();
        encoded[1] ^= 1;
        let error = decode_entry(&encoded.into()).unwrap_err();
        assert!(error.to_string().contains("entry 77"), "{error}");
        assert!(decode_entry(&Bytes::from_static(&[1, 2])).is_err());
    }

    #[test]
    fn records_come_back() {
        let id = LogId::new_term_index(5, 9);
        assert_eq!(decode_log_id(&encode_log_id(&id)).unwrap(), id);
        for committed in [false, true] {
            let mut vote = Vote::new(4, 2);
            vote.committed = committed;
            assert_eq!(decode_vote(&encode_vote(&vote)).unwrap(), vote);
        }
        for stored in [
            StoredMembership::default(),
            openraft::StoredMembership::new(Some(LogId::new_term_index(1, 2)), joint()),
        ] {
            assert_eq!(decode_membership(&encode_membership(&stored)).unwrap(), stored);
            let meta = SnapshotMeta { last_log_id: Some(id), last_membership: stored };
            assert_eq!(decode_snapshot_meta(&encode_snapshot_meta(&meta)).unwrap(), meta);
        }
    }
}

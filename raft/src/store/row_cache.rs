//! Newest rows in memory, in front of RocksDB: what nearly every call looks up (its credential,
//! its account, the path and the bindings of what it is about) costs a hash look-up there.
//!
//! Promises: a view is answered with what its snapshot contains, never with something newer or
//! older. Holds rows as they are on disk: payloads and keys are sealed in them. Bounded in bytes.
//!
//! How: commits are numbered. A row is kept with the number of the commit since which it is the
//! newest, and a view may use it when that commit is in its snapshot: then the row has not changed
//! between the two. A commit replaces its rows here *before* RocksDB has them, so a row that is
//! about to change is no longer used by any view, old or new, that might see it changed.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::state::{Space, Write, keys};

/// Independent parts, each behind its own lock: look-ups seldom meet.
const SHARDS: usize = 32;
/// What one row costs beside its key and value: the list node and the table slot. Bytes.
const ROW_OVERHEAD_BYTES: usize = 128;
/// Larger values are left to RocksDB's block cache: one of them would push out hundreds of rows.
const VALUE_BYTES_MAX: usize = 8 << 10;
/// The number that no view reaches: after a failed commit nothing is taken in any more.
const NEVER: u64 = u64::MAX;

/// Which commits a snapshot that is taken afterwards contains, at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

/// What the cache says to a view.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cached {
    /// The row's value in this view, or its absence.
    Known(Option<Vec<u8>>),
    /// The snapshot must be asked.
    Unknown,
}

/// The cache.
pub(super) struct RowCache {
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
    shard_bytes_max: usize,
    /// The newest commit that may have changed rows here.
    begun: AtomicU64,
    /// The newest commit that RocksDB has.
    finished: AtomicU64,
}

struct Row {
    since: u64,
    value: Option<Box<[u8]>>,
}

/// A row's space and key, as one key of the map.
fn place(space: Space, key: &[u8]) -> Vec<u8> {
    let mut place = Vec::with_capacity(key.len() + 1);
    place.extend_from_slice(key);
    place.push(space as u8);
    place
}

fn row_bytes(place: &[u8], value: Option<&[u8]>) -> usize {
    ROW_OVERHEAD_BYTES + place.len() + value.map_or(0, <[u8]>::len)
}

struct Shard {
    rows: LruCache<Box<[u8]>, Row>,
    bytes: usize,
}

impl Shard {
    fn remove(&mut self, place: &[u8]) {
        if let Some(old) = self.rows.pop(place) {
            self.bytes -= row_bytes(place, old.value.as_deref());
        }
    }

    /// Replaces a row that is here, and takes in one that will be read soon. The rest comes in when
    /// somebody reads it: most rows of a commit (operations, what expires) are not read soon.
    fn replace(&mut self, place: &[u8], row: Row, comes_in: bool, bytes_max: usize) {
        if !comes_in && !self.rows.contains(place) {
            return;
        }
        if row.value.as_ref().is_some_and(|value| value.len() > VALUE_BYTES_MAX) {
            self.remove(place);
        } else {
            self.insert(place, row, bytes_max);
        }
    }

    fn insert(&mut self, place: &[u8], row: Row, bytes_max: usize) {
        self.remove(place);
        self.bytes += row_bytes(place, row.value.as_deref());
        self.rows.push(place.into(), row);
        while self.bytes > bytes_max {
            let Some((place, old)) = self.rows.pop_lru() else { break };
            self.bytes -= row_bytes(&place, old.value.as_deref());
        }
    }
}

impl RowCache {
    /// An empty cache that holds at most so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        let shard = || Mutex::new(Shard { rows: LruCache::unbounded(), bytes: 0 });
        Self {
            hasher: RandomState::new(),
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            shard_bytes_max: bytes_max / SHARDS,
            begun: AtomicU64::new(0),
            finished: AtomicU64::new(0),
        }
    }

    /// To be called before the snapshot of a view is taken.
    pub(super) fn moment(&self) -> Moment {
        Moment(self.finished.load(Ordering::Acquire))
    }

    /// What is known of a row in a view whose snapshot was taken after `moment`.
    pub(super) fn get(&self, space: Space, key: &[u8], moment: Moment) -> Cached {
        let place = place(space, key);
        match self.shard(&place).rows.get(place.as_slice()) {
            Some(row) if row.since <= moment.0 => {
                Cached::Known(row.value.as_deref().map(<[u8]>::to_vec))
            }
            Some(_) | None => Cached::Unknown,
        }
    }

    /// Takes in what the snapshot of such a view said, unless a commit has begun since.
    ///
    /// An absence is kept only where the same one is asked for again and again: most are those of
    /// a new row's key, asked for once.
    pub(super) fn offer(&self, space: Space, key: &[u8], value: Option<&[u8]>, moment: Moment) {
        let kept = match value {
            Some(value) => value.len() <= VALUE_BYTES_MAX,
            None => keys::absence_is_usual(space, key),
        };
        if !kept {
            return;
        }
        let place = place(space, key);
        let mut shard = self.shard(&place);
        // INVARIANT: looked at behind the lock. A commit that begins later waits for the lock
        // before it replaces this row; one that has replaced it already is visible here.
        if self.begun.load(Ordering::Acquire) <= moment.0 {
            let row = Row { since: moment.0, value: value.map(Box::from) };
            shard.insert(&place, row, self.shard_bytes_max);
        }
    }

    /// Runs one commit: `write` gives the rows to RocksDB. One at a time; the caller sees to it.
    pub(super) fn commit<E>(
        &self,
        writes: &[Write],
        write: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        if self.begun.load(Ordering::Acquire) == NEVER {
            return write();
        }
        let number = self.finished.load(Ordering::Acquire) + 1;
        // ORDER: begun, the rows, RocksDB, finished. See the top of this file.
        self.begun.store(number, Ordering::Release);
        for Write { space, key, value } in writes {
            let place = place(*space, key);
            let row = Row { since: number, value: value.as_deref().map(Box::from) };
            let comes_in = keys::read_after_write(*space, key);
            self.shard(&place).replace(&place, row, comes_in, self.shard_bytes_max);
        }
        let written = write();
        if written.is_ok() {
            self.finished.store(number, Ordering::Release);
        } else {
            // The rows may or may not be on disk; until the process ends, only that is asked.
            self.begun.store(NEVER, Ordering::Release);
            for shard in &self.shards {
                let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard.rows.clear();
                shard.bytes = 0;
            }
        }
        written
    }

    fn shard(&self, place: &[u8]) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(place);
        let number = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        // Each change of a shard is whole before anything in it can panic.
        self.shards[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"key";

    fn put(value: &str) -> Vec<Write> {
        let value = Some(value.as_bytes().to_vec());
        vec![Write { space: Space::Records, key: KEY.to_vec(), value }]
    }

    fn known(value: &str) -> Cached {
        Cached::Known(Some(value.as_bytes().to_vec()))
    }

    /// A cache that was asked for the row after its first commit.
    fn holding(value: &str) -> RowCache {
        let cache = RowCache::new(1 << 20);
        cache.commit(&put(value), || Ok::<_, ()>(())).unwrap();
        assert_eq!(cache.get(Space::Records, KEY, cache.moment()), Cached::Unknown);
        let payload = vec![Write { space: Space::Payloads, ..put(value).remove(0) }];
        cache.commit(&payload, || Ok::<_, ()>(())).unwrap();
        assert_eq!(cache.get(Space::Payloads, KEY, cache.moment()), known(value));
        cache.offer(Space::Records, KEY, Some(value.as_bytes()), cache.moment());
        cache
    }

    #[test]
    fn a_view_sees_neither_what_came_later_nor_what_was_replaced() {
        let cache = holding("old");
        let before = cache.moment();
        assert_eq!(cache.get(Space::Records, KEY, before), known("old"));
        let write = || {
            // Between the cache and RocksDB: a view may or may not see it, so it asks RocksDB.
            assert_eq!(cache.get(Space::Records, KEY, cache.moment()), Cached::Unknown);
            Ok::<_, ()>(())
        };
        cache.commit(&put("new"), write).unwrap();
        assert_eq!(cache.get(Space::Records, KEY, before), Cached::Unknown);
        assert_eq!(cache.get(Space::Records, KEY, cache.moment()), known("new"));
        // Another space is another row.
        assert_eq!(cache.get(Space::Payloads, KEY, cache.moment()), known("old"));
    }

    #[test]
    fn what_an_older_view_read_is_not_taken_in() {
        let cache = RowCache::new(1 << 20);
        let before = cache.moment();
        let other = vec![Write { space: Space::Records, key: b"other".to_vec(), value: None }];
        let late = || {
            cache.offer(Space::Records, KEY, Some(b"late"), before);
            Ok::<_, ()>(())
        };
        cache.commit(&other, late).unwrap();
        cache.offer(Space::Records, KEY, Some(b"late"), before);
        assert_eq!(cache.get(Space::Records, KEY, cache.moment()), Cached::Unknown);
        cache.offer(Space::Records, KEY, Some(b"now"), cache.moment());
        assert_eq!(cache.get(Space::Records, KEY, cache.moment()), known("now"));
        cache.commit(&put("newer"), || Ok::<_, ()>(())).unwrap();
        assert_eq!(cache.get(Space::Records, KEY, cache.moment()), known("newer"));
    }

    #[test]
    fn only_a_usual_absence_is_kept() {
        let cache = RowCache::new(1 << 20);
        let now = cache.moment();
        let revoked = keys::revoked_token(&lockbox_core::TokenId::parse("token").unwrap());
        for (key, kept) in [(KEY, Cached::Unknown), (&revoked, Cached::Known(None))] {
            cache.offer(Space::Records, key, None, now);
            assert_eq!(cache.get(Space::Records, key, now), kept);
        }
        let row = Write { space: Space::Records, key: revoked.clone(), value: Some(vec![1]) };
        cache.commit(&[row], || Ok::<_, ()>(())).unwrap();
        let known = Cached::Known(Some(vec![1]));
        assert_eq!(cache.get(Space::Records, &revoked, cache.moment()), known);
    }

    /// What is destroyed leaves the memory with its entry, not when its place is needed.
    #[test]
    fn the_value_of_a_deleted_row_is_not_kept() {
        let cache = holding("sealed");
        let before = cache.moment();
        let gone = Write { space: Space::Payloads, key: KEY.to_vec(), value: None };
        let offered_late = || cache.offer(Space::Payloads, KEY, Some(b"sealed"), before);
        let write = || {
            offered_late();
            Ok::<_, ()>(())
        };
        cache.commit(&[gone], write).unwrap();
        // By somebody who still reads an older view.
        offered_late();
        let place = place(Space::Payloads, KEY);
        let shard = cache.shard(&place);
        assert!(shard.rows.peek(place.as_slice()).is_none_or(|row| row.value.is_none()));
    }

    #[test]
    fn a_failed_commit_leaves_nothing() {
        let cache = holding("old");
        cache.commit(&put("new"), || Err(())).unwrap_err();
        assert_eq!(cache.get(Space::Records, KEY, cache.moment()), Cached::Unknown);
        for _ in 0..2 {
            cache.offer(Space::Records, KEY, Some(b"old"), cache.moment());
            assert_eq!(cache.get(Space::Records, KEY, cache.moment()), Cached::Unknown);
            cache.commit(&put("newer"), || Ok::<_, ()>(())).unwrap();
        }
    }

    #[test]
    fn it_stays_within_its_bytes_and_keeps_what_is_used() {
        let cache = RowCache::new(SHARDS * 4096);
        let now = cache.moment();
        cache.offer(Space::Records, KEY, Some(b"hot"), now);
        for number in 0..10_000_u32 {
            cache.offer(Space::Records, &number.to_be_bytes(), Some(&[0; 100]), now);
            assert_eq!(cache.get(Space::Records, KEY, now), known("hot"));
        }
        for shard in &cache.shards {
            let shard = shard.lock().unwrap();
            let rows = shard.rows.iter().map(|(place, row)| row_bytes(place, row.value.as_deref()));
            let bytes: usize = rows.sum();
            assert_eq!(bytes, shard.bytes);
            assert!(bytes <= 4096, "{bytes}");
        }
        cache.offer(Space::Payloads, KEY, Some(&vec![0; VALUE_BYTES_MAX + 1]), now);
        assert_eq!(cache.get(Space::Payloads, KEY, now), Cached::Unknown);
    }

    /// One writer raises a counter in two rows at once; readers take views as the engine does,
    /// and must find both rows equal, at least as new as their moment, and never newer than the
    /// store itself.
    #[test]
    fn views_stay_whole_beside_a_writer() {
        use std::collections::BTreeMap;
        use std::sync::{Arc, RwLock};
        const COMMITS: u64 = 20_000;
        type Store = Arc<BTreeMap<Vec<u8>, Vec<u8>>>;

        let cache = RowCache::new(SHARDS * 512);
        let store: RwLock<Store> = RwLock::default();
        let both = |value: u64| {
            [b"a", b"b"].map(|key| Write {
                space: Space::Records,
                key: key.to_vec(),
                value: Some(value.to_be_bytes().to_vec()),
            })
        };
        let look_up = |snapshot: &Store, moment, key: &[u8]| {
            let value = match cache.get(Space::Records, key, moment) {
                Cached::Known(value) => value,
                Cached::Unknown => {
                    let value = snapshot.get(key).cloned();
                    cache.offer(Space::Records, key, value.as_deref(), moment);
                    value
                }
            };
            value.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
        };
        std::thread::scope(|scope| {
            for reader in 0..3_u64 {
                let (cache, store, look_up) = (&cache, &store, &look_up);
                scope.spawn(move || {
                    let mut last = 0;
                    while last < COMMITS {
                        let moment = cache.moment();
                        let snapshot = Arc::clone(&store.read().unwrap());
                        let a = look_up(&snapshot, moment, b"a");
                        let b = look_up(&snapshot, moment, b"b");
                        let stored = snapshot.get(b"a".as_slice()).cloned();
                        let stored =
                            stored.map_or(0, |v| u64::from_be_bytes(v.try_into().unwrap()));
                        assert_eq!((a, b), (stored, stored), "a view was torn");
                        assert!(a >= last, "{a} after {last}");
                        last = a;
                        // Pushes the two rows out now and then, so that they are offered again.
                        let filler = (reader * COMMITS + last).to_be_bytes();
                        cache.offer(Space::System, &filler, Some(&[0; 64]), moment);
                    }
                });
            }
            for value in 1..=COMMITS {
                let writes = both(value);
                let write = || {
                    let mut next = BTreeMap::clone(&store.read().unwrap());
                    for Write { key, value, .. } in &writes {
                        next.insert(key.clone(), value.clone().unwrap());
                    }
                    *store.write().unwrap() = Arc::new(next);
                    Ok::<_, ()>(())
                };
                cache.commit(&writes, write).unwrap();
            }
        });
    }
}

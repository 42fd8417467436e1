//! What a storage engine says of itself, for `/metrics`.

/// The insides of one engine at this moment. Zeros where it does not tell, as one in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineStats {
    /// Bytes of all of its tables on disk.
    pub tables_bytes: u64,
    /// Bytes of them that are not overwritten or deleted, as it estimates.
    pub live_bytes: u64,
    /// Bytes that are in memory alone.
    pub memtable_bytes: u64,
    /// Bytes that compaction has yet to rewrite, as it estimates.
    pub pending_compaction_bytes: u64,
    /// Files in the level that writes go to first: many of them slow writes down.
    pub level0_files: u64,
    /// Compactions and flushes under way.
    pub running_jobs: u64,
    /// Errors in the background since it was opened.
    pub background_errors: u64,
    /// Whether writes wait for compaction.
    pub writes_stopped: bool,
}

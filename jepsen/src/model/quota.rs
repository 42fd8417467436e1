//! The quota of secrets (`contract §9`), as the suite's clusters are configured.

/// The secrets that a cloud may have: few, so that racing workers meet it all the time. The cloud
/// of the run's own folder has a quota that no run reaches.
pub const SECRETS_MAX: u32 = 24;

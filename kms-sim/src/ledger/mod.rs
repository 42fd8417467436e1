//! The ledger: one record per crypto call, counters derived from it, and the bill.

pub mod audited;
mod charges;
pub mod counters;
pub mod listing;
mod numbering;
pub mod print;
pub mod record;
pub mod report;
pub mod span_check;
pub mod verify;

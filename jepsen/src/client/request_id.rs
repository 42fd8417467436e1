//! The request id that an operation goes out under: nodes and the KMS write it into their audit and
//! the KMS into its ledger, so that their lines lead back to the history (L11).

use crate::history::ids::OpId;

/// The header, either way (`contract §10`).
pub const HEADER: &str = "x-request-id";
/// What ours begin with: "jepsen", and the marks of a UUID of version 4.
const BEGIN: &str = "6a657073-656e-4000-8000-";
/// Hexadecimal digits behind it.
const DIGITS: usize = 12;

/// The id of an operation's request: a UUID, as servers take no other text.
#[must_use]
pub fn request_id(op: OpId) -> String {
    format!("{BEGIN}{:0DIGITS$x}", op.0)
}

/// The operation of a request id, if it is one of ours.
#[must_use]
pub fn op_of(request_id: &str) -> Option<OpId> {
    let digits = request_id.strip_prefix(BEGIN).filter(|digits| digits.len() == DIGITS)?;
    u64::from_str_radix(digits, 16).ok().map(OpId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_a_uuid_and_leads_back() {
        let id = request_id(OpId(1_000_003));
        assert_eq!(id, "6a657073-656e-4000-8000-0000000f4243");
        assert_eq!(op_of(&id), Some(OpId(1_000_003)));
        assert_eq!(op_of("0b0c1f9e-6a4f-4a57-8a3c-9d8e7f6a5b4c"), None);
        assert_eq!(op_of("6a657073-656e-4000-8000-f"), None);
    }
}

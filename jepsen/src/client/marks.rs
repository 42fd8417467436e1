//! The headers by which a node says what its answer reflects (`verification §3.4`).

use tonic::metadata::MetadataMap;

use crate::history::ids::NodeId;

/// The Raft index that an answer reflects.
const INDEX: &str = "lockbox-index";
/// The Raft term that an answer reflects.
const TERM: &str = "lockbox-term";
/// The node that answered.
const SERVED_BY: &str = "lockbox-served-by";
/// What may be concluded from an error.
const OUTCOME: &str = "lockbox-outcome";
/// The one outcome that is said: nothing was handed to Raft.
const NOT_PROPOSED: &str = "not-proposed";
/// The answer is the node's own view, however old.
const STALE: &str = "lockbox-stale";

/// The place in the log that an answer reflects, and who gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// `lockbox-index`.
    pub index: u64,
    /// `lockbox-term`.
    pub term: u64,
    /// `lockbox-served-by`.
    pub served_by: NodeId,
}

/// What the headers of an answer say, taken together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marks {
    /// It reflects this place.
    At(Place),
    /// Nothing was handed to Raft.
    NotProposed,
    /// They say nothing that could be relied on.
    Nothing,
    /// They cannot be what they are, and why.
    Wrong(String),
}

impl Marks {
    /// Reads the metadata of an answer: of a success its headers, of an error its trailers.
    #[must_use]
    pub fn read(metadata: &MetadataMap) -> Self {
        Self::parse(metadata).unwrap_or_else(Self::Wrong)
    }

    fn parse(metadata: &MetadataMap) -> Result<Self, String> {
        if metadata.contains_key(STALE) {
            return Err(format!("{STALE}, which nobody asked for"));
        }
        let index = number(metadata, INDEX)?;
        let term = number(metadata, TERM)?;
        let served_by = number(metadata, SERVED_BY)?.map(NodeId);
        let not_proposed = match metadata.get(OUTCOME).map(|value| value.as_bytes()) {
            None => false,
            Some(value) if value == NOT_PROPOSED.as_bytes() => true,
            Some(_) => return Err(format!("{OUTCOME} says what it cannot say")),
        };
        match (index, term, served_by, not_proposed) {
            (Some(_), _, _, true) => {
                Err(format!("{INDEX} together with {OUTCOME}: {NOT_PROPOSED}"))
            }
            (Some(index), Some(term), Some(served_by), false) => {
                Ok(Self::At(Place { index, term, served_by }))
            }
            (Some(_), _, _, false) => Err(format!("{INDEX} without {TERM} or {SERVED_BY}")),
            (None, _, _, true) => Ok(Self::NotProposed),
            (None, _, _, false) => Ok(Self::Nothing),
        }
    }
}

/// A positive number; every index, term and node id of an answer is one.
fn number(metadata: &MetadataMap, name: &str) -> Result<Option<u64>, String> {
    let Some(value) = metadata.get(name) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    match number {
        Some(number) if number > 0 => Ok(Some(number)),
        Some(_) | None => Err(format!("{name} is not a positive number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(headers: &[(&'static str, &'static str)]) -> Marks {
        let mut metadata = MetadataMap::new();
        for (name, value) in headers {
            metadata.insert(*name, value.parse().unwrap());
        }
        Marks::read(&metadata)
    }

    #[test]
    fn a_place_needs_all_three() {
        let place = Place { index: 7, term: 2, served_by: NodeId(3) };
        let all = [(INDEX, "7"), (TERM, "2"), (SERVED_BY, "3")];
        assert_eq!(marks(&all), Marks::At(place));
        assert!(matches!(marks(&all[..2]), Marks::Wrong(_)));
        assert!(matches!(marks(&[all[0], all[2]]), Marks::Wrong(_)));
        // Who serves is on every answer.
        assert_eq!(marks(&all[2..]), Marks::Nothing);
    }

    #[test]
    fn what_contradicts_itself_is_wrong() {
        let place = [(INDEX, "7"), (TERM, "2"), (SERVED_BY, "3")];
        let with = |extra| marks(&[&place[..], &[extra][..]].concat());
        assert!(matches!(with((OUTCOME, NOT_PROPOSED)), Marks::Wrong(_)));
        assert!(matches!(with((STALE, "true")), Marks::Wrong(_)));
        assert!(matches!(marks(&[(OUTCOME, "maybe")]), Marks::Wrong(_)));
        assert!(matches!(marks(&[(INDEX, "0"), place[1], place[2]]), Marks::Wrong(_)));
        assert!(matches!(marks(&[(INDEX, "seven"), place[1], place[2]]), Marks::Wrong(_)));
    }

    #[test]
    fn not_proposed_stands_alone() {
        assert_eq!(marks(&[(OUTCOME, NOT_PROPOSED), (SERVED_BY, "3")]), Marks::NotProposed);
    }
}

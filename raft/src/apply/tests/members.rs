//! The register of members: nothing is ever taken out of it.

use std::collections::BTreeMap;

use super::Map;
use crate::apply::register_members;
use crate::domain::member::MemberRecord;
use crate::state::{Overlay, tables};

#[test]
fn who_leaves_stays_in_the_register_with_its_directory() {
    let state = Map::default();
    let mut overlay = Overlay::new(&state);
    let members = |ids: &[u8]| -> BTreeMap<u64, [u8; 16]> {
        ids.iter().map(|id| (u64::from(*id), [*id; 16])).collect()
    };
    register_members(&mut overlay, &members(&[1, 2]), 3).unwrap();
    register_members(&mut overlay, &members(&[1, 2, 4]), 7).unwrap();
    register_members(&mut overlay, &members(&[1, 4]), 9).unwrap();
    // What happens later changes nothing about those that left.
    register_members(&mut overlay, &members(&[4]), 12).unwrap();
    let record = |node_id: u64, added_at, removed_at| MemberRecord {
        node_id,
        store_id: [node_id as u8; 16],
        added_at,
        removed_at,
    };
    let expected = [record(1, 3, Some(12)), record(2, 3, Some(9)), record(4, 7, None)];
    assert_eq!(tables::members(&overlay).unwrap(), expected);
    assert_eq!(tables::member(&overlay, 2).unwrap(), Some(expected[1].clone()));
    assert_eq!(tables::member(&overlay, 3).unwrap(), None);
    assert!(!overlay.into_writes().is_empty());
}

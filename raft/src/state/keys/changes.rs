//! The changes of each folder's secrets, in the order of the log.

use lockbox_core::FolderId;

use super::{CHANGE_IN_FOLDER, Key};

/// The changes of a folder, by index. The values are operation ids.
#[must_use]
pub fn changes_of(folder: &FolderId) -> Vec<u8> {
    Key::new(CHANGE_IN_FOLDER).text(folder.as_str()).done()
}

/// One place in [`changes_of`].
#[must_use]
pub fn change(folder: &FolderId, index: u64) -> Vec<u8> {
    Key::new(CHANGE_IN_FOLDER).text(folder.as_str()).number(index).done()
}

/// The index in a key that [`change`] has made; nothing of a key of another table.
#[must_use]
pub fn change_index(key: &[u8]) -> Option<u64> {
    if key.first() != Some(&CHANGE_IN_FOLDER) {
        return None;
    }
    key.last_chunk().map(|index| u64::from_be_bytes(*index))
}

#[cfg(test)]
mod tests {
    use lockbox_core::OperationId;

    use super::*;

    #[test]
    fn the_index_is_found_in_keys_of_changes_alone() {
        let folder = FolderId::parse("b1gfolder").unwrap();
        assert_eq!(change_index(&change(&folder, 7)), Some(7));
        assert!(change(&folder, 7).starts_with(&changes_of(&folder)));
        let operation = OperationId::parse("e6qoperation").unwrap();
        assert_eq!(change_index(&super::super::operation(&operation)), None);
    }
}

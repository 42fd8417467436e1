//! Pages of clouds and of folders: sorted by id, and filtered while they are read
//! (`contract §2.11`).

use lockbox_raft::error::StorageError;
use prost::Message;

use crate::page::{self, List};

/// Records read at a time while those that are wanted are looked for.
const RECORDS_READ: usize = 1_000;

/// A page of records in the order of their ids, and whether there are more behind it.
type Records<R> = Result<(Vec<R>, bool), StorageError>;

/// At most `limit` of the wanted records, behind `after`.
pub(super) fn behind<R, I>(
    mut after: Option<I>,
    limit: usize,
    read: impl Fn(Option<&I>, usize) -> Records<R>,
    id: impl Fn(&R) -> I,
    wanted: impl Fn(&R) -> Result<bool, StorageError>,
) -> Result<Vec<R>, StorageError> {
    let mut found = Vec::new();
    loop {
        let (records, more) = read(after.as_ref(), RECORDS_READ)?;
        after = records.last().map(&id);
        for record in records {
            if wanted(&record)? {
                found.push(record);
            }
        }
        if !more || found.len() >= limit {
            found.truncate(limit);
            return Ok(found);
        }
    }
}

/// The messages of a page of this size, and the token of the next. There is one record more than
/// that if there is a next page.
pub(super) fn of_records<R, M: Message>(
    list: List<'_>,
    mut records: Vec<R>,
    size: usize,
    message: impl Fn(&R) -> M,
    id: impl Fn(&M) -> &str,
) -> (Vec<M>, String) {
    let more = records.len() > size;
    records.truncate(size);
    let mut messages: Vec<M> = records.iter().map(message).collect();
    let more = page::cut(&mut messages) || more;
    let last = messages.last().filter(|_| more);
    let next_page_token = last.map(|last| list.id_token(id(last))).unwrap_or_default();
    (messages, next_page_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from 1 to `last` by a few at a time.
    fn numbers(last: u32) -> impl Fn(Option<&u32>, usize) -> Records<u32> {
        move |after, _size| {
            let from = after.map_or(1, |after| after + 1);
            let to = (from + 2).min(last);
            Ok(((from..=to).collect(), to < last))
        }
    }

    #[test]
    fn what_is_wanted_is_found_however_far_behind_it_is() {
        let even = |number: &u32| Ok(number.is_multiple_of(2));
        let found = |after, limit| behind(after, limit, numbers(10), |n| *n, even).unwrap();
        assert_eq!(found(None, 3), [2, 4, 6]);
        assert_eq!(found(Some(4), 100), [6, 8, 10]);
        assert_eq!(found(Some(10), 100), [0_u32; 0]);
        let none = |_: &u32| Ok(false);
        assert_eq!(behind(None, 1, numbers(10), |n| *n, none).unwrap(), [0_u32; 0]);
    }

    #[test]
    fn a_page_has_a_token_when_there_is_more() {
        let list = List { kind: "letters", of: "" };
        let page = |count: usize| {
            let records = vec!["a".to_owned(); count];
            of_records(list, records, 2, Clone::clone, |message: &String| message)
        };
        assert_eq!(page(2), (vec!["a".to_owned(); 2], String::new()));
        assert_eq!(page(3), (vec!["a".to_owned(); 2], list.id_token("a")));
    }
}

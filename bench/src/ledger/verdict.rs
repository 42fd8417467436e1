//! What a ledger and the payloads say together.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use lockbox_proto::yandex::cloud::lockbox::v1::Payload;
use lockbox_proto::yandex::cloud::lockbox::v1::payload::entry::Value;

use super::book::{Entry, entry_key, entry_value};

/// Writes that are told by name; more are only counted.
const TOLD: usize = 3;

/// What was found so far. Each write counts once for each member.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// The entry of the log that the cluster goes on from, where it has lost some.
    lost_after: Option<u64>,
    /// Writes that are there, as they should be.
    there: usize,
    /// Writes that are gone, as was announced.
    gone: usize,
    /// Writes that are gone, and should not be.
    lost: Vec<String>,
    /// Writes that are there, and were announced as lost.
    back: Vec<String>,
}

impl Verdict {
    pub(super) fn new(lost_after: Option<u64>) -> Self {
        Self { lost_after, ..Self::default() }
    }

    /// Looks for the writes to one secret in the payload that one member answered; without one,
    /// there is no such secret.
    pub(super) fn check(&mut self, endpoint: &str, entries: &[Entry], payload: Option<&Payload>) {
        let found = payload.into_iter().flat_map(|payload| &payload.entries);
        let values: BTreeMap<&str, Option<&Value>> =
            found.map(|entry| (entry.key.as_str(), entry.value.as_ref())).collect();
        for entry in entries {
            let expected = Value::BinaryValue(entry_value(&entry.secret_id, entry.number));
            let value = values.get(entry_key(entry.number).as_str()).copied().flatten();
            let is_there = value == Some(&expected);
            let announced = self.lost_after.is_some_and(|last| entry.index > last);
            match (is_there, announced) {
                (true, false) => self.there += 1,
                (false, true) => self.gone += 1,
                (false, false) => self.lost.push(format!("{entry} through {endpoint}")),
                // An earlier try may have had its effect among what is kept.
                (true, true) if entry.tries > 1 => self.there += 1,
                (true, true) => self.back.push(format!("{entry} through {endpoint}")),
            }
        }
    }

    /// What was found, in a line.
    pub(super) fn sentence(&self, members: usize) -> String {
        format!(
            "acknowledged writes through {members} members: {} there, {} gone as announced, \
             {} lost, {} there though announced as lost\n",
            self.there,
            self.gone,
            self.lost.len(),
            self.back.len()
        )
    }

    /// Whether all of it is as it should be.
    ///
    /// # Errors
    /// What is not, with the first of them.
    pub(super) fn judge(&self) -> Result<()> {
        let first = |writes: &[String]| {
            writes.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join("; ")
        };
        let (lost, back) = (&self.lost, &self.back);
        ensure!(lost.is_empty(), "{} acknowledged writes are lost: {}", lost.len(), first(lost));
        ensure!(
            back.is_empty(),
            "{} writes are there though they were announced as lost: {}",
            back.len(),
            first(back)
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lockbox_proto::yandex::cloud::lockbox::v1::payload::Entry as WireEntry;

    use super::*;

    fn noted(number: u32, index: u64, tries: u32) -> Entry {
        Entry { at_ms: 0, secret_id: "s".to_owned(), number, index, tries }
    }

    fn payload(numbers: &[u32]) -> Payload {
        let entry = |number: &u32| WireEntry {
            key: entry_key(*number),
            value: Some(Value::BinaryValue(entry_value("s", *number))),
        };
        Payload { version_id: String::new(), entries: numbers.iter().map(entry).collect() }
    }

    fn judged(lost_after: Option<u64>, there: Option<&Payload>) -> Verdict {
        let mut verdict = Verdict::new(lost_after);
        let entries = [noted(0, 10, 1), noted(1, 11, 1), noted(2, 12, 2), noted(3, 13, 1)];
        verdict.check("n1", &entries, there);
        verdict
    }

    #[test]
    fn everything_has_to_be_there_unless_a_loss_was_announced() {
        let all = payload(&[0, 1, 2, 3]);
        judged(None, Some(&all)).judge().unwrap();
        let error = judged(None, Some(&payload(&[0, 1, 3]))).judge().unwrap_err().to_string();
        assert!(error.contains("1 acknowledged writes are lost: 0 s 2 12 2 through n1"), "{error}");
        assert_eq!(judged(None, None).lost.len(), 4);
        // Another value is none.
        let mut wrong = all;
        wrong.entries[0].value = Some(Value::BinaryValue(b"s/1".to_vec()));
        assert_eq!(judged(None, Some(&wrong)).lost.len(), 1);
    }

    #[test]
    fn exactly_what_was_announced_is_gone() {
        let kept = judged(Some(11), Some(&payload(&[0, 1])));
        kept.judge().unwrap();
        assert_eq!((kept.there, kept.gone), (2, 2));
        // Less is lost than was announced: that of one try alone is wrong.
        let tried_before = judged(Some(11), Some(&payload(&[0, 1, 2])));
        tried_before.judge().unwrap();
        let back = judged(Some(11), Some(&payload(&[0, 1, 3])));
        let error = back.judge().unwrap_err().to_string();
        assert!(error.contains("though they were announced as lost: 0 s 3 13 1"), "{error}");
        // More is lost than was announced.
        let error = judged(Some(11), Some(&payload(&[0]))).judge().unwrap_err().to_string();
        assert!(error.contains("1 acknowledged writes are lost"), "{error}");
        assert!(back.sentence(1).contains("2 there, 1 gone as announced, 0 lost, 1 there though"));
    }
}

//! L12: no planted value is found at rest: not in data directories, logs, audit records,
//! environments or core files, in any form that was looked for; nor, after a destruction, the
//! key that it was wrapped with.
//!
//! Judges what the scan recorded; it must have looked at every place for canaries that exist. A run
//! looks for what was destroyed when it has its nodes erase that soon enough for it.

use std::collections::BTreeSet;

use crate::history::ledger::ScanPlace;

use super::{Case, Law, LawReport, Violation};

/// Places without which a scan has not looked.
const NEEDED: [ScanPlace; 3] = [ScanPlace::DataDirectory, ScanPlace::ProcessLog, ScanPlace::Audit];

/// Judges a case.
#[must_use]
pub fn check(case: &Case<'_>) -> LawReport {
    let scans = &case.history.scans;
    let violation = scans.iter().find_map(|scan| {
        let found = scan.found.first()?;
        if scan.place == ScanPlace::Destroyed {
            let sentence = format!(
                "the version that #{} saw destroyed is still in {} of {}, one of {} finds",
                found.op,
                found.file,
                scan.of,
                scan.found.len()
            );
            return Some(Violation { ops: vec![found.op], sentence });
        }
        let sentence = format!(
            "the value that #{} wrote was found as {} in {} of {}, at byte {}, one of {} finds",
            found.op,
            found.form,
            found.file,
            scan.of,
            found.offset,
            scan.found.len()
        );
        Some(Violation { ops: vec![found.op], sentence })
    });
    let looked = scans.iter().filter(|scan| scan.canaries > 0 && scan.bytes > 0);
    let places: BTreeSet<ScanPlace> = looked.map(|scan| scan.place).collect();
    let missing: Vec<String> = NEEDED
        .iter()
        .filter(|place| !places.contains(place))
        .map(|place| format!("{place:?}"))
        .collect();
    let destroyed = scans.iter().filter(|scan| scan.place == ScanPlace::Destroyed);
    let canaries = scans.iter().filter(|scan| scan.place != ScanPlace::Destroyed);
    let counts = [
        (
            "bytes scanned",
            if missing.is_empty() { scans.iter().map(|scan| scan.bytes).sum() } else { 0 },
        ),
        ("scans", scans.len() as u64),
        ("canaries", canaries.map(|scan| scan.canaries).max().unwrap_or(0)),
        ("destroyed versions", destroyed.map(|scan| scan.canaries).max().unwrap_or(0)),
    ];
    let nothing = format!("nobody looked for canaries in {}", missing.join(", "));
    LawReport::new(Law::L12, violation, &counts, &nothing)
}

#[cfg(test)]
mod tests {
    use crate::check::laws::Finding;
    use crate::check::script::Script;
    use crate::history::event::Event;
    use crate::history::ids::OpId;
    use crate::history::ledger::{CanaryFound, CanaryScan};

    use super::*;

    fn scan(script: &mut Script, place: ScanPlace, found: Vec<CanaryFound>) {
        let of = "node 2".to_owned();
        script.push(|at| Event::Scan(CanaryScan { at, place, of, canaries: 9, bytes: 5, found }));
    }

    fn finding(script: Script) -> Finding {
        let history = script.history();
        check(&Case::new(&history, None)).finding
    }

    #[test]
    fn places_without_canaries_hold() {
        let mut script = Script::new();
        for place in NEEDED {
            scan(&mut script, place, Vec::new());
        }
        assert_eq!(finding(script), Finding::Holds);
    }

    #[test]
    fn a_canary_is_a_violation() {
        let mut script = Script::new();
        let (file, form) = ("000012.log".to_owned(), "base64".to_owned());
        let found = CanaryFound { op: OpId(7), file, offset: 96, form };
        scan(&mut script, ScanPlace::DataDirectory, vec![found]);
        let Finding::Violated { sentence, .. } = finding(script) else { panic!() };
        let expected = "the value that #7 wrote was found as base64 in 000012.log of node 2, at \
                        byte 96, one of 1 finds";
        assert_eq!(sentence, expected);
    }

    #[test]
    fn what_is_left_of_a_destroyed_version_is_a_violation() {
        let mut script = Script::new();
        for place in NEEDED {
            scan(&mut script, place, Vec::new());
        }
        scan(&mut script, ScanPlace::Destroyed, Vec::new());
        let (file, form) = ("raft/000012.sst".to_owned(), "wrapped_key".to_owned());
        let found = CanaryFound { op: OpId(7), file, offset: 0, form };
        scan(&mut script, ScanPlace::Destroyed, vec![found]);
        let Finding::Violated { sentence, .. } = finding(script) else { panic!() };
        let expected = "the version that #7 saw destroyed is still in raft/000012.sst of node 2, \
                        one of 1 finds";
        assert_eq!(sentence, expected);
    }

    #[test]
    fn a_place_that_was_left_out_is_told() {
        let mut script = Script::new();
        scan(&mut script, ScanPlace::DataDirectory, Vec::new());
        let why = "nobody looked for canaries in ProcessLog, Audit".to_owned();
        assert_eq!(finding(script), Finding::NotChecked { why });
    }
}

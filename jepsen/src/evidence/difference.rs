//! How a verdict that was stored differs from the one that its history gives, in one sentence.

use crate::check::laws::{Finding, LawReport};
use crate::check::verdict::Verdict;

/// The first difference, the judgement's before all others; none if they are equal.
pub(super) fn first(stored: &Verdict, anew: &Verdict) -> Option<String> {
    if stored == anew {
        return None;
    }
    let law = stored.laws.iter().zip(&anew.laws).find_map(|(stored, anew)| of_law(stored, anew));
    let detail = law.unwrap_or_else(|| of_rest(stored, anew));
    if stored.judgement == anew.judgement {
        return Some(detail);
    }
    let (was, is) = (stored.judgement, anew.judgement);
    let why = anew.reasons.first().map_or("", |reason| reason.sentence.as_str());
    Some(format!("it says {was}, and its history is judged {is} ({why}); {detail}"))
}

fn of_law(stored: &LawReport, anew: &LawReport) -> Option<String> {
    if stored.law != anew.law {
        return Some(format!("it tells of {} where {} is next", stored.law, anew.law));
    }
    let law = stored.law;
    if stored.finding != anew.finding {
        let (was, is) = (words(&stored.finding), words(&anew.finding));
        return Some(format!("{law}: stored is: {was}; judged anew: {is}"));
    }
    let counts = |report: &LawReport| {
        let counts = report.counts.iter().map(|(what, count)| format!("{what} {count}"));
        counts.collect::<Vec<_>>().join(", ")
    };
    let (was, is) = (counts(stored), counts(anew));
    (was != is).then(|| format!("{law}: stored is: {was}; judged anew: {is}"))
}

fn words(finding: &Finding) -> String {
    match finding {
        Finding::Holds => "holds".to_owned(),
        Finding::Violated { sentence, .. } => format!("violated: {sentence}"),
        Finding::NotChecked { why } => format!("not checked: {why}"),
    }
}

fn of_rest(stored: &Verdict, anew: &Verdict) -> String {
    if stored.laws.len() != anew.laws.len() {
        return format!("it tells of {} laws of {}", stored.laws.len(), anew.laws.len());
    }
    if stored.search != anew.search {
        return "the search found something else".to_owned();
    }
    if stored.coverage != anew.coverage {
        let pairs = stored.coverage.iter().zip(&anew.coverage);
        let row = pairs.into_iter().find(|(stored, anew)| stored != anew);
        return row.map_or("its coverage has other rows".to_owned(), |(stored, anew)| {
            let (was, is) = (stored.reached, anew.reached);
            format!("coverage: {}: stored is {was}, counted anew {is}", anew.what)
        });
    }
    let [was, is] = [stored, anew].map(|verdict| (verdict.ops, verdict.decided));
    if was != is {
        return format!("operations begun and decided: stored is {was:?}, counted anew {is:?}");
    }
    "its reasons are others".to_owned()
}

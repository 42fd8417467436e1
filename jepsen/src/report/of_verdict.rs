//! From a verdict to what a report shows of it.

use std::collections::BTreeMap;

use crate::check::laws::{Finding, Law, LawReport};
use crate::check::verdict::{SearchReport, Verdict};

use super::input::{Findings, LawFinding, LawState, MissingFault, Violation};

/// Name of the search among the laws.
const SEARCH: &str = "search";

/// How long judging took, seconds. Kept apart from the verdict, which is the same everywhere.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timings {
    /// Each law that was measured on its own.
    pub laws: BTreeMap<Law, f64>,
    /// The search.
    pub search: Option<f64>,
    /// Everything, reading included.
    pub total: f64,
}

impl Findings {
    /// What a verdict found, with the time it took and the faults that this machine can't do.
    #[must_use]
    pub fn of(verdict: &Verdict, timings: &Timings, missing_faults: Vec<MissingFault>) -> Self {
        let laws = verdict.laws.iter().map(|report| law(report, timings));
        let of_laws = verdict.laws.iter().filter_map(|report| match &report.finding {
            Finding::Violated { ops, sentence } => Some(Violation {
                law: report.law.to_string(),
                sentence: sentence.clone(),
                ops: ops.clone(),
                secret: None,
                at_ns: None,
            }),
            Finding::Holds | Finding::NotChecked { .. } => None,
        });
        let of_search = verdict.search.illegal.iter().map(|(secret, op)| Violation {
            law: SEARCH.to_owned(),
            sentence: format!("no order of the operations on secret {secret} explains #{op}"),
            ops: vec![*op],
            secret: Some(secret.clone()),
            at_ns: None,
        });
        Self {
            judgement: verdict.judgement,
            reasons: verdict.reasons.iter().map(|reason| reason.sentence.clone()).collect(),
            violations: of_laws.chain(of_search).collect(),
            laws: laws.chain([search(&verdict.search, timings)]).collect(),
            coverage: verdict.coverage.clone(),
            missing_faults,
            check_seconds: timings.total,
        }
    }
}

fn law(report: &LawReport, timings: &Timings) -> LawFinding {
    let (state, sentence) = match &report.finding {
        Finding::Holds => (LawState::Holds, String::new()),
        Finding::Violated { sentence, .. } => (LawState::Violated, sentence.clone()),
        Finding::NotChecked { why } => (LawState::NotJudged, why.clone()),
    };
    LawFinding {
        law: report.law.to_string(),
        demands: report.law.title().to_owned(),
        state,
        counts: report.counts.clone(),
        seconds: timings.laws.get(&report.law).copied(),
        sentence,
    }
}

fn search(report: &SearchReport, timings: &Timings) -> LawFinding {
    let (illegal, unknown) = (report.illegal.len(), report.unknown.len());
    let (state, sentence) = if illegal > 0 {
        (LawState::Violated, format!("no order explains the answers on {illegal} of the secrets"))
    } else if unknown > 0 {
        (LawState::Unknown, format!("too much work for {unknown} of the secrets"))
    } else if report.secrets == 0 {
        (LawState::NotJudged, "no secret was searched".to_owned())
    } else {
        (LawState::Holds, String::new())
    };
    LawFinding {
        law: SEARCH.to_owned(),
        demands: "some order explains all answers, whatever the indexes say".to_owned(),
        state,
        counts: vec![("operations".to_owned(), report.ops), ("secrets".to_owned(), report.secrets)],
        seconds: timings.search,
        sentence,
    }
}

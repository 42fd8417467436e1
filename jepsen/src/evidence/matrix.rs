//! Reads a kill matrix (`lockbox-jepsen mutants`), and checks that it holds together: it is of the
//! commit, a mutant that it calls killed was seen by a law that is expected of it, and every one
//! that can be run has a row.
//!
//! Reads what it needs of the file and no more, for it judges what is claimed, not how it is
//! written.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::check::laws::Law;

/// What the search that does not believe the index is called among the laws.
const SEARCH: &str = "search";

#[derive(Debug, Deserialize)]
struct Matrix {
    commit: String,
    control: Vec<Control>,
    rows: Vec<Row>,
    seeded: Vec<String>,
}

/// A run without a mutant.
#[derive(Debug, Deserialize)]
struct Control {
    cried_out: bool,
}

#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    expected: Vec<String>,
    fate: Fate,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum Fate {
    Killed { sighting: Sighting },
    Survived {},
    Waiting {},
}

#[derive(Debug, Deserialize)]
struct Sighting {
    laws: Vec<String>,
    sentence: String,
}

/// Checks a kill matrix of a commit; gives what it says in a sentence.
///
/// # Errors
/// The first contradiction.
pub fn check(path: &Path, commit: &str) -> Result<String> {
    let text = fs::read(path).context("cannot read it")?;
    let matrix: Matrix = serde_json::from_slice(&text)?;
    let theirs = &matrix.commit;
    ensure!(theirs == commit, "it is of commit {theirs:?}, and the bundle is of {commit}");
    ensure!(!matrix.control.is_empty(), "without a run that has no mutant it proves nothing");
    let cried_out = matrix.control.iter().any(|control| control.cried_out);
    ensure!(!cried_out, "a law was violated in a run that has no mutant");
    let (mut killed, mut survived, mut waiting) = (0, Vec::new(), 0);
    let mut names = BTreeSet::new();
    for Row { name, expected, fate } in &matrix.rows {
        ensure!(names.insert(name.as_str()), "{name} has two rows");
        match fate {
            Fate::Killed { sighting } => {
                killed += 1;
                check_sighting(name, sighting, expected)?;
            }
            Fate::Survived {} => survived.push(name.as_str()),
            Fate::Waiting {} => waiting += 1,
        }
    }
    if let Some(missing) = matrix.seeded.iter().find(|name| !names.contains(name.as_str())) {
        anyhow::bail!("{missing} is to be run and has no row");
    }
    let survivors = match survived.len() {
        0 => "none survived".to_owned(),
        count => format!("{count} survived ({})", survived.join(", ")),
    };
    Ok(format!(
        "of this commit: {killed} of {} mutants killed, each by a law expected of it; \
         {survivors}; {waiting} wait for their feature",
        matrix.seeded.len()
    ))
}

fn check_sighting(name: &str, sighting: &Sighting, expected: &[String]) -> Result<()> {
    ensure!(!sighting.laws.is_empty(), "{name} is called killed, and no law has seen it");
    ensure!(!sighting.sentence.is_empty(), "{name} is called killed, and nothing says by what");
    for law in &sighting.laws {
        let is_known = law == SEARCH || Law::ALL.iter().any(|known| known.to_string() == *law);
        ensure!(is_known, "{name} is said to be seen by {law:?}, which is no law");
    }
    // What the search finds, L1 is about.
    let law = |seen: &String| if seen == SEARCH { Law::L1.to_string() } else { seen.clone() };
    let is_expected = sighting.laws.iter().map(law).any(|law| expected.contains(&law));
    ensure!(is_expected, "{name} is called killed, and none of the expected laws has seen it");
    Ok(())
}

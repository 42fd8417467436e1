//! The matrix as a table for people.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::matrix::{Fate, Matrix, Row};
use super::sighting::Sighting;

/// Writes it.
pub(super) fn write(matrix: &Matrix) -> String {
    let mut text = "# Kill matrix\n\n".to_owned();
    // Writing into a String cannot fail.
    let mut line = |what: String| writeln!(text, "{what}").unwrap_or_default();
    let killed = matrix.seeded.iter().filter(|name| matrix.is_killed(name)).count();
    line(format!("{killed} of {} mutants killed. Begun {}.", matrix.seeded.len(), matrix.begun));
    line(format!("Machine: {}. Commit: {}.", matrix.machine, or(&matrix.commit, "not told")));
    let [lockbox, kms_sim, suite] = &matrix.programs;
    line(format!("SHA-256 of `lockbox`: `{lockbox}`, of `kms-sim`: `{kms_sim}`, of the suite:"));
    line(format!("`{suite}`."));
    line(String::new());
    line("Seconds are of load, up to the first violation; in brackets what all runs of the".into());
    line(
        "mutant took with their judgements. The faults are those in force at that moment, or"
            .into(),
    );
    line(
        "else those before it; the search is the one that does not believe the index. What L13"
            .into(),
    );
    line("and L15 compare is compared at the end of a run, and counts from there.".into());
    line(String::new());
    line("| Mutant | Seen by | Expected | Seconds | Faults | Seed |".into());
    line("|---|---|---|---|---|---|".into());
    for row in matrix.rows.iter().filter(|row| !is_waiting(row)) {
        line(tried(row));
    }
    line(String::new());
    line("## Without a mutant\n".into());
    for run in &matrix.control {
        let cry = if run.cried_out { " **A false alarm.**" } else { "" };
        let (focus, seed) = (&run.focus, run.seed);
        line(format!("- {focus}, seed {seed}, {} faults: {}{cry}", run.faults, run.summary));
    }
    line(String::new());
    line("## Not run yet\n".into());
    for row in matrix.rows.iter().filter(|row| is_waiting(row)) {
        if let Fate::Waiting { reason } = &row.fate {
            let laws = row.expected.join(", ");
            line(format!("- `{}` ({laws}): {} {}.", row.name, row.broken, reason));
        }
    }
    line(String::new());
    line("## What was seen\n".into());
    for row in &matrix.rows {
        match &row.fate {
            Fate::Killed { sighting, .. } => {
                line(format!("- `{}`: {} {}", row.name, row.broken, one_line(sighting)));
            }
            Fate::Survived { last, .. } => {
                line(format!("- `{}`: {} Survived; the last run: {last}", row.name, row.broken));
            }
            Fate::Waiting { .. } => {}
        }
    }
    text
}

fn is_waiting(row: &Row) -> bool {
    matches!(row.fate, Fate::Waiting { .. })
}

fn tried(row: &Row) -> String {
    let expected = row.expected.join(", ");
    match &row.fate {
        Fate::Killed { sighting, seed, wall_seconds, .. } => format!(
            "| `{}` | {}{} | {expected} | {:.1} ({wall_seconds}) | {} | {seed} |",
            row.name,
            sighting.laws.join(", "),
            if sighting.is_by_one_of(&row.expected) { "" } else { " (none of the expected)" },
            sighting.after_ms as f64 / 1e3,
            faults(sighting)
        ),
        Fate::Survived { attempts, wall_seconds, .. } => format!(
            "| `{}` | **survived** {attempts} runs | {expected} | ({wall_seconds}) | | |",
            row.name
        ),
        Fate::Waiting { .. } => String::new(),
    }
}

fn faults(sighting: &Sighting) -> String {
    let names = |classes: &BTreeSet<String>| {
        classes.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    match (sighting.in_force.is_empty(), sighting.before.is_empty()) {
        (false, _) => names(&sighting.in_force),
        (true, false) => format!("after {}", names(&sighting.before)),
        (true, true) => "none".to_owned(),
    }
}

fn one_line(sighting: &Sighting) -> String {
    sighting.sentence.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::matrix::tests::{killed, matrix, row, survived};
    use super::*;

    #[test]
    fn the_table_tells_who_saw_what_when_and_who_saw_nothing() {
        let reason = "not landed".to_owned();
        let rows = vec![
            row("one", killed()),
            row("two", survived()),
            row("later", Fate::Waiting { reason }),
        ];
        let text = write(&matrix(rows));
        assert!(text.starts_with("# Kill matrix\n\n1 of 2 mutants killed."), "{text}");
        assert!(text.contains("| `one` | L10, search | L10, L3 | 12.3 (140) | after kill | 2 |"));
        assert!(text.contains("| `two` | **survived** 3 runs | L10, L3 | (300) | | |"));
        assert!(text.contains("- `later` (L10, L3): Is. not landed."));
        assert!(text.contains("- `one`: Is. lost"));
        assert!(!text.contains("false alarm") && !text.contains("none of the expected"));
        let unexpected = Row { expected: vec!["L5".to_owned()], ..row("one", killed()) };
        assert!(
            write(&matrix(vec![unexpected])).contains("| L10, search (none of the expected) |")
        );
    }
}

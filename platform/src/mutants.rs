//! How a program with seeded bugs tells of them: the list for the jepsen suite, and who it is.
//!
//! Only with the feature `mutants`; the registry itself is `lockbox_core::mutants`.

use std::fmt::Write;
use std::str::FromStr;

use lockbox_core::mutants::{ChoiceError, MISSING, Program, SEEDED, VARIABLE, choose};
use serde::Serialize;

/// How the list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListFormat {
    /// One line for each mutant.
    Text,
    /// One JSON object.
    Json,
}

impl FromStr for ListFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("is neither text nor json"),
        }
    }
}

/// What the suite reads.
#[derive(Serialize)]
struct List {
    program: &'static str,
    /// The variable that chooses.
    variable: &'static str,
    mutants: Vec<Row>,
    /// Those that wait for a feature, of all programs.
    missing: Vec<MissingRow>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    broken: &'static str,
    /// The laws that should fire, the likeliest first.
    laws: &'static [&'static str],
    /// The fault or setting that it takes; empty when it takes none.
    needs: &'static str,
}

#[derive(Serialize)]
struct MissingRow {
    name: &'static str,
    broken: &'static str,
    laws: &'static [&'static str],
    reason: &'static str,
}

/// The mutants of a program, ready to be printed.
#[must_use]
pub fn list(program: Program, format: ListFormat) -> String {
    let own = SEEDED.iter().filter(|seeded| seeded.program == program);
    match format {
        ListFormat::Text => own.fold(String::new(), |mut text, seeded| {
            let (name, laws) = (seeded.name, seeded.laws.join(" "));
            // Writing into a String cannot fail.
            writeln!(text, "{name:32} {laws:12} {}", seeded.broken).ok();
            text
        }),
        ListFormat::Json => {
            let row = |seeded: &lockbox_core::mutants::Seeded| Row {
                name: seeded.name,
                broken: seeded.broken,
                laws: seeded.laws,
                needs: seeded.needs,
            };
            let missing = |missing: &lockbox_core::mutants::Missing| MissingRow {
                name: missing.name,
                broken: missing.broken,
                laws: missing.laws,
                reason: missing.reason,
            };
            let list = List {
                program: program.name(),
                variable: VARIABLE,
                mutants: own.map(row).collect(),
                missing: MISSING.iter().map(missing).collect(),
            };
            serde_json::to_string_pretty(&list).map_or_else(|_| String::new(), |text| text + "\n")
        }
    }
}

/// Makes this process the mutant that its environment names, if any, and says so loudly. To be
/// called once, before anything of the server runs.
///
/// # Errors
/// [`ChoiceError`]; the process must not start.
pub fn begin(programs: &[Program], environment: &[(String, String)]) -> Result<(), ChoiceError> {
    let named = environment.iter().find(|(name, _)| name == VARIABLE);
    match named.map(|(_, value)| value.as_str()).filter(|name| !name.is_empty()) {
        Some(name) => {
            let seeded = choose(name, programs)?;
            let broken = seeded.broken;
            tracing::warn!(
                mutant = name,
                broken,
                "THIS PROCESS IS A MUTANT: it is broken on purpose"
            );
        }
        None => tracing::warn!("this build has seeded bugs; none is on"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_lists_its_own() {
        let node = list(Program::Node, ListFormat::Json);
        let node: serde_json::Value = serde_json::from_str(&node).unwrap();
        assert_eq!(node["program"], "lockbox");
        assert_eq!(node["variable"], "LOCKBOX_MUTANT");
        let names = |list: &serde_json::Value| -> Vec<String> {
            let rows = list["mutants"].as_array().unwrap().iter();
            rows.map(|row| row["name"].as_str().unwrap().to_owned()).collect()
        };
        assert!(names(&node).contains(&"lost-tail".to_owned()));
        let kms = list(Program::Kms, ListFormat::Json);
        let kms: serde_json::Value = serde_json::from_str(&kms).unwrap();
        let expected =
            ["retry-billed-twice", "served-unbilled", "wrong-key-billed", "key-status-cached"];
        assert_eq!(names(&kms), expected);
        assert_eq!(kms["missing"].as_array().unwrap().len(), MISSING.len());
        assert!(list(Program::Kms, ListFormat::Text).starts_with("retry-billed-twice "));
    }

    #[test]
    fn an_unknown_name_is_refused_and_none_is_no_mutant() {
        let environment = |name: &str| [(VARIABLE.to_owned(), name.to_owned())];
        let refused = begin(&[Program::Node], &environment("retry-billed-twice"));
        assert!(refused.is_err_and(|error| error.to_string().contains("retry-billed-twice")));
        assert_eq!(begin(&[Program::Node], &environment("")), Ok(()));
        assert_eq!(begin(&[Program::Node], &[]), Ok(()));
        assert!(lockbox_core::mutants::chosen().is_none());
    }
}

//! What the programs say of their mutants (`lockbox mutants --format json`).
//!
//! The suite links nothing of what it tests, so it asks.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::cluster::Programs;
use crate::cluster::program::run;

/// One mutant of a program.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    /// What it is chosen by.
    pub(super) name: String,
    /// What is wrong with it.
    pub(super) broken: String,
    /// The laws that should see it, the likeliest first.
    pub(super) laws: Vec<String>,
    /// The fault or setting without which nobody sees it, in words.
    pub(super) needs: String,
    /// The program that has it.
    #[serde(skip)]
    pub(super) program: String,
    /// The variable that chooses it.
    #[serde(skip)]
    pub(super) variable: String,
}

/// One that cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Waiting {
    /// Its name.
    pub(super) name: String,
    /// What is, or will be, wrong with it.
    pub(super) broken: String,
    /// The laws that should see it.
    pub(super) laws: Vec<String>,
    /// What it waits for.
    pub(super) reason: String,
}

/// What one program prints.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Printed {
    program: String,
    variable: String,
    mutants: Vec<Listed>,
    missing: Vec<Waiting>,
}

/// All mutants of both programs.
#[derive(Debug)]
pub(super) struct Listing {
    seeded: Vec<Listed>,
    waiting: Vec<Waiting>,
}

impl Listing {
    /// Asks the programs.
    ///
    /// # Errors
    /// When one of them has no seeded bugs, or lists them otherwise.
    pub(super) fn ask(programs: &Programs) -> Result<Self> {
        let printed = [&programs.lockbox, &programs.kms_sim].map(|path| ask_one(path));
        let [node, kms] = printed;
        Self::of([node?, kms?])
    }

    fn of(printed: [Printed; 2]) -> Result<Self> {
        let mut listing = Self { seeded: Vec::new(), waiting: Vec::new() };
        for Printed { program, variable, mutants, missing } in printed {
            for mut listed in mutants {
                listed.program.clone_from(&program);
                listed.variable.clone_from(&variable);
                listing.seeded.push(listed);
            }
            // Both programs tell of all that are missing.
            listing.waiting.retain(|known| missing.iter().all(|other| other.name != known.name));
            listing.waiting.extend(missing);
        }
        ensure!(!listing.seeded.is_empty(), "these programs have no mutants to run");
        Ok(listing)
    }

    /// Those that can be run.
    pub(super) fn seeded(&self) -> impl Iterator<Item = &Listed> {
        self.seeded.iter()
    }

    /// Those that wait for a feature.
    pub(super) fn waiting(&self) -> &[Waiting] {
        &self.waiting
    }

    /// One that can be run.
    pub(super) fn find(&self, name: &str) -> Option<&Listed> {
        self.seeded.iter().find(|listed| listed.name == name)
    }
}

fn ask_one(program: &Path) -> Result<Printed> {
    let name = program.display().to_string();
    let printed = run(&name, ["mutants", "--format", "json"])
        .with_context(|| format!("{name} is not built with seeded bugs: see `make mutants`"))?;
    serde_json::from_str(&printed).with_context(|| format!("{name} lists its mutants otherwise"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(program: &str, mutants: &[&str]) -> Printed {
        let row = |name: &&str| {
            let laws = ["L1"];
            serde_json::json!({"name": name, "broken": "Is.", "laws": laws, "needs": ""})
        };
        let missing = serde_json::json!({
            "name": "later", "broken": "Will be.", "laws": ["L8"], "reason": "not landed"
        });
        serde_json::from_value(serde_json::json!({
            "program": program,
            "variable": "LOCKBOX_MUTANT",
            "mutants": mutants.iter().map(row).collect::<Vec<_>>(),
            "missing": [missing],
        }))
        .unwrap()
    }

    #[test]
    fn each_mutant_is_of_its_program_and_what_is_missing_is_told_once() {
        let node = printed("lockbox", &["lost-tail", "key-status-cached"]);
        let listing = Listing::of([node, printed("kms-sim", &["wrong-key-billed"])]).unwrap();
        let seeded: Vec<_> = listing.seeded().map(|listed| listed.name.as_str()).collect();
        assert_eq!(seeded, ["lost-tail", "key-status-cached", "wrong-key-billed"]);
        assert_eq!(listing.find("lost-tail").unwrap().program, "lockbox");
        let waiting: Vec<_> = listing.waiting().iter().map(|w| w.name.as_str()).collect();
        assert_eq!(waiting, ["later"]);
    }

    #[test]
    fn programs_without_mutants_are_refused() {
        assert!(Listing::of([printed("lockbox", &[]), printed("kms-sim", &[])]).is_err());
    }
}

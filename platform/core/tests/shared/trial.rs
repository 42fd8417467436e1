//! How a test shows that a seeded bug bites: what it looks for is not there in a healthy process,
//! and is there in one that is the mutant.
//!
//! A process is one mutant for its whole life, so the test runs twice: as part of the suite, and
//! again as a child that the environment makes the mutant, in which nothing else runs.

use std::process::Command;

use lockbox_core::mutants::{Mutant, Program, SEEDED, VARIABLE, choose};

/// A test that runs twice.
pub(crate) struct Trial {
    name: &'static str,
    is_child: bool,
}

impl Trial {
    /// Begins: before anything else, because whatever is started then is healthy or the mutant.
    pub(crate) fn of(mutant: Mutant) -> Self {
        let seeded = SEEDED.iter().find(|seeded| seeded.mutant == mutant).unwrap();
        let told = std::env::var(VARIABLE).ok();
        if let Some(told) = &told {
            assert_eq!(told, seeded.name, "run the tests without {VARIABLE}");
            choose(told, &[Program::Node, Program::Kms]).unwrap();
        }
        Self { name: seeded.name, is_child: told.is_some() }
    }

    /// Ends, with what the test saw of the bug.
    pub(crate) fn end(self, wrong: bool) {
        if self.is_child {
            assert!(wrong, "the mutant {} does what is right", self.name);
            return;
        }
        assert!(!wrong, "it is wrong without the mutant {}", self.name);
        let thread = std::thread::current();
        let test = thread.name().unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(VARIABLE, self.name)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{test}: {text}\n{errors}");
    }
}

//! The programs of one run: the real ones, of which one is told which mutant it is.
//!
//! A server is started without an environment, as it is in earnest, so what it is told goes into a
//! script of its own name, which becomes the program. Whoever runs the scripts' directory runs the
//! mutant, also by hand.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::focus::Focus;
use super::listing::Listed;
use super::naming;
use crate::cluster::Programs;

/// By what a node finds out itself that its data are wrong, and ends: here a law is to see that.
const UNWATCHED: [&str; 2] = [
    "LOCKBOX_CONFIG_DISK__SCRUB_INTERVAL_SECONDS",
    "LOCKBOX_CONFIG_DISK__STATE_CHECK_INTERVAL_SECONDS",
];

/// A directory of programs.
#[derive(Debug)]
pub(super) struct Disguise {
    bin: PathBuf,
    is_a_mutant: bool,
}

impl Disguise {
    /// Makes it inside the directory of a run, which it makes anew.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn make(
        directory: &Path,
        programs: &Programs,
        listed: Option<&Listed>,
        focus: &Focus,
    ) -> Result<Self> {
        if directory.exists() {
            fs::remove_dir_all(directory).with_context(naming(directory))?;
        }
        let bin = directory.join("bin");
        fs::create_dir_all(&bin).with_context(naming(&bin))?;
        for (name, program) in [("lockbox", &programs.lockbox), ("kms-sim", &programs.kms_sim)] {
            let mut variables = Vec::new();
            if let Some(listed) = listed.filter(|listed| listed.program == name) {
                variables.push((listed.variable.as_str(), listed.name.as_str()));
            }
            if name == "lockbox" {
                variables.extend(focus.log_level().map(|level| ("LOCKBOX_LOG", level)));
                variables.extend(UNWATCHED.map(|variable| (variable, "0")));
            }
            write_script(&bin.join(name), program, &variables)?;
        }
        Ok(Self { bin, is_a_mutant: listed.is_some() })
    }

    /// Where they are.
    pub(super) fn path(&self) -> &Path {
        &self.bin
    }

    /// Whether one of them is a mutant.
    pub(super) const fn is_a_mutant(&self) -> bool {
        self.is_a_mutant
    }
}

fn write_script(path: &Path, program: &Path, variables: &[(&str, &str)]) -> Result<()> {
    let program = program.to_str().context("a program has an odd path")?;
    let mut script = "#!/bin/sh\n".to_owned();
    for (name, value) in variables {
        script += &format!("export {name}={}\n", quoted(value));
    }
    script += &format!("exec {} \"$@\"\n", quoted(program));
    fs::write(path, script).with_context(naming(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(naming(path))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::program::run;

    #[test]
    fn the_mutant_is_told_its_name_and_nobody_else() {
        let directory = tempfile::tempdir().unwrap();
        let env = PathBuf::from("/usr/bin/env");
        let programs = Programs { lockbox: env.clone(), kms_sim: env, other_lockbox: None };
        let listed = Listed {
            name: "it's".to_owned(),
            broken: String::new(),
            laws: Vec::new(),
            needs: String::new(),
            program: "kms-sim".to_owned(),
            variable: "LOCKBOX_MUTANT".to_owned(),
        };
        let path = directory.path().join("run");
        let disguise = Disguise::make(&path, &programs, Some(&listed), &Focus::calm()).unwrap();
        let seen = |name: &str| run(&disguise.path().join(name).display().to_string(), [""; 0]);
        assert!(seen("kms-sim").unwrap().lines().any(|line| line == "LOCKBOX_MUTANT=it's"));
        let of_node = seen("lockbox").unwrap();
        assert!(!of_node.contains("LOCKBOX_MUTANT"));
        for variable in UNWATCHED {
            assert!(of_node.contains(&format!("{variable}=0\n")), "{of_node}");
        }
    }
}

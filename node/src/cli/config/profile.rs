//! `lockbox config profile`.

use std::path::Path;

use clap::Subcommand;

use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::profiles::{self, Profile, Profiles, check_name};
use crate::cli::settings;

/// What to do with a profile as a whole.
#[derive(Debug, Subcommand)]
pub(super) enum ProfileCommand {
    /// Lists the profiles.
    List,
    /// Prints what a profile says.
    Get {
        /// The profile.
        name: String,
    },
    /// Makes an empty profile and activates it.
    Create {
        /// Its name.
        #[arg(value_parser = check_name)]
        name: String,
    },
    /// Takes this profile from now on, where nobody names one.
    Activate {
        /// The profile.
        name: String,
    },
    /// Deletes a profile. The files that it names stay.
    Delete {
        /// The profile.
        name: String,
    },
}

impl ProfileCommand {
    /// Does it; says what there is to see.
    pub(super) fn run(self, file: &Path) -> Result<String, Failure> {
        match self {
            Self::List => Ok(list(&profiles::load(file)?)),
            Self::Get { name } => {
                let known = profiles::load(file)?;
                output::yaml(known.named(&name).ok_or_else(|| settings::no_profile(&name))?)
            }
            Self::Create { name } => profiles::change(file, |known| create(known, name)),
            Self::Activate { name } => profiles::change(file, |known| activate(known, name)),
            Self::Delete { name } => profiles::change(file, |known| delete(known, &name)),
        }
    }
}

fn list(known: &Profiles) -> String {
    let line = |name: &String| {
        let mark = if known.active.as_ref() == Some(name) { " ACTIVE" } else { "" };
        format!("{name}{mark}\n")
    };
    known.profiles.keys().map(line).collect()
}

fn create(known: &mut Profiles, name: String) -> Result<String, Failure> {
    if known.named(&name).is_some() {
        return Err(Failure::usage(format_args!(
            "there is a profile {name:?} already: lockbox config profile activate {name} takes it"
        )));
    }
    let said = format!("profile {name} is made and active: lockbox config set fills it\n");
    known.profiles.insert(name.clone(), Profile::default());
    known.active = Some(name);
    Ok(said)
}

fn activate(known: &mut Profiles, name: String) -> Result<String, Failure> {
    known.named(&name).ok_or_else(|| settings::no_profile(&name))?;
    let said = format!("profile {name} is active\n");
    known.active = Some(name);
    Ok(said)
}

fn delete(known: &mut Profiles, name: &str) -> Result<String, Failure> {
    known.profiles.remove(name).ok_or_else(|| settings::no_profile(name))?;
    let was_active = known.active.as_deref() == Some(name);
    if was_active {
        known.active = None;
    }
    let rest = if was_active { "; none is active now" } else { "" };
    Ok(format!("profile {name} is deleted{rest}\n"))
}

//! Which mutant this process is: chosen once, at its start, by whoever reads its environment.

use std::sync::OnceLock;

use super::{Program, SEEDED, Seeded};

/// The variable that names the mutant. Absent or empty: none.
pub const VARIABLE: &str = "LOCKBOX_MUTANT";

static CHOSEN: OnceLock<&'static Seeded> = OnceLock::new();

/// Why a process cannot be the mutant that it is told to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// There is none of that name, or another program has it.
    #[error("{VARIABLE}: this program has no mutant {0:?}; its command `mutants` lists them")]
    Unknown(String),
    /// It is one already.
    #[error("{VARIABLE}: this process is a mutant already")]
    Chosen,
}

/// Makes this process a mutant of one of these programs.
///
/// # Errors
/// [`ChoiceError`]; the process is none then, and must not go on.
pub fn choose(name: &str, programs: &[Program]) -> Result<&'static Seeded, ChoiceError> {
    let fits = |seeded: &&Seeded| seeded.name == name && programs.contains(&seeded.program);
    let seeded = SEEDED.iter().find(fits).ok_or_else(|| ChoiceError::Unknown(name.to_owned()))?;
    CHOSEN.set(seeded).map_err(|_| ChoiceError::Chosen)?;
    Ok(seeded)
}

/// The mutant that this process is.
#[must_use]
pub fn chosen() -> Option<&'static Seeded> {
    CHOSEN.get().copied()
}

#[cfg(test)]
mod tests {
    use super::super::{Mutant, marked, mutant};
    use super::*;

    #[test]
    fn a_process_is_one_mutant_of_its_own_program_and_stays_it() {
        let unknown = |name: &str| Some(ChoiceError::Unknown(name.to_owned()));
        assert_eq!(choose("no-such", &[Program::Node]).err(), unknown("no-such"));
        assert_eq!(choose("lost-tail", &[Program::Kms]).err(), unknown("lost-tail"));
        assert!(chosen().is_none() && !mutant(Mutant::LostTail));
        assert_eq!(marked("1.2.3"), "1.2.3+mutants");
        assert!(choose("lost-tail", &[Program::Node]).is_ok());
        assert!(mutant(Mutant::LostTail) && !mutant(Mutant::LostUpdate));
        assert_eq!(marked("1.2.3"), "1.2.3+MUTANT.lost-tail");
        let again = choose("lost-update", &[Program::Node, Program::Kms]);
        assert_eq!(again.err(), Some(ChoiceError::Chosen));
        assert!(mutant(Mutant::LostTail));
    }
}

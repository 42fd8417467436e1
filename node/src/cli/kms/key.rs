//! `lockbox kms symmetric-key`: the commands, each with its flags in a file of its own.

use clap::Subcommand;

use super::connect::KmsContext;
use super::{access, create, lifecycle, read, update, versions};
use crate::cli::failure::Failure;
use crate::cli::output;

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Creates a key with its first version.
    Create(create::Create),
    /// Shows a key.
    Get(read::Get),
    /// Lists the keys of the folder.
    List(read::List),
    /// Changes a key's name, description, labels, status, algorithm, rotation or protection.
    Update(update::Update),
    /// Deletes a key: nothing can be done with it any more, and later its material is destroyed.
    Delete(lifecycle::Whole),
    /// Adds a version and makes it primary; older ones decrypt on.
    Rotate(lifecycle::Whole),
    /// Lists the versions of a key, newest first.
    #[command(alias = "list-version")]
    ListVersions(read::ListVersions),
    /// Makes another version primary: the one that encrypts by default.
    SetPrimaryVersion(versions::OfVersion),
    /// Closes a version that is not primary now, and destroys it later.
    ScheduleVersionDestruction(versions::ScheduleVersionDestruction),
    /// Opens a version that was to be destroyed.
    CancelVersionDestruction(versions::OfVersion),
    /// Lists what was done to a key, newest first.
    ListOperations(read::ListOperations),
    /// Lists who has which role on a key itself.
    #[command(alias = "list-access-binding")]
    ListAccessBindings(access::ListAccessBindings),
    /// Gives somebody a role on a key.
    AddAccessBinding(access::OneBinding),
    /// Takes a role on a key from somebody.
    RemoveAccessBinding(access::OneBinding),
    /// Replaces all roles on a key.
    SetAccessBindings(access::SetAccessBindings),
}

impl KeyCommand {
    /// Does it; prints what came of it.
    pub(super) fn run(self, context: &KmsContext<'_>) -> Result<(), Failure> {
        let text = match self {
            Self::Create(command) => command.run(context),
            Self::Get(command) => command.run(context),
            Self::List(command) => command.run(context),
            Self::Update(command) => command.run(context),
            Self::Delete(command) => command.delete(context),
            Self::Rotate(command) => command.rotate(context),
            Self::ListVersions(command) => command.run(context),
            Self::SetPrimaryVersion(command) => command.set_primary(context),
            Self::ScheduleVersionDestruction(command) => command.run(context),
            Self::CancelVersionDestruction(command) => command.cancel(context),
            Self::ListOperations(command) => command.run(context),
            Self::ListAccessBindings(command) => command.run(context),
            Self::AddAccessBinding(command) => command.add(context),
            Self::RemoveAccessBinding(command) => command.remove(context),
            Self::SetAccessBindings(command) => command.run(context),
        };
        output::write(text?.as_bytes())
    }
}

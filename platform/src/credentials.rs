//! Secrets that systemd hands to a service (`LoadCredential=`): files in a directory of its own.
//!
//! A configuration names one as `$CREDENTIALS_DIRECTORY/NAME`, for where the directory is systemd
//! decides at each start. Owns that spelling, and the question whether others can read a file.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use toml::{Table, Value};

use crate::system::effective_user;

/// Where systemd says the directory is.
const VARIABLE: &str = "CREDENTIALS_DIRECTORY";
/// How a configuration begins the path of a credential.
pub(crate) const PREFIX: &str = "$CREDENTIALS_DIRECTORY/";
/// What group and others may do.
const OTHERS: u32 = 0o077;
/// The same without the group's reading.
const MORE_THAN_READING: u32 = 0o037;

/// A credential is named, and there are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "it names $CREDENTIALS_DIRECTORY/{name}, and CREDENTIALS_DIRECTORY is not set: systemd sets it \
     for a unit with LoadCredential={name}:..."
)]
pub struct NoCredentials {
    /// The credential.
    pub name: String,
}

/// Where the credentials are.
pub(crate) fn of(environment: &[(String, String)]) -> Option<&str> {
    let found = environment.iter().find(|(name, _)| name == VARIABLE);
    found.map(|(_, directory)| directory.as_str()).filter(|directory| !directory.is_empty())
}

/// Puts the directory into every path of a credential.
pub(crate) fn place(table: &mut Table, directory: Option<&str>) -> Result<(), NoCredentials> {
    for (_, value) in table.iter_mut() {
        place_in(value, directory)?;
    }
    Ok(())
}

fn place_in(value: &mut Value, directory: Option<&str>) -> Result<(), NoCredentials> {
    match value {
        Value::String(text) => {
            let Some(name) = text.strip_prefix(PREFIX) else { return Ok(()) };
            let directory = directory.ok_or_else(|| NoCredentials { name: name.to_owned() })?;
            *text = format!("{directory}/{name}");
            Ok(())
        }
        Value::Array(values) => values.iter_mut().try_for_each(|value| place_in(value, directory)),
        Value::Table(table) => place(table, directory),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => Ok(()),
    }
}

/// Whether nobody but the file's owner can read it, or nobody but this service.
#[must_use]
pub fn is_private(path: &Path, metadata: &Metadata) -> bool {
    is_private_in(std::env::var_os(VARIABLE).as_deref().map(Path::new), path, metadata)
}

fn is_private_in(directory: Option<&Path>, path: &Path, metadata: &Metadata) -> bool {
    let is_credential = directory.is_some() && path.parent() == directory;
    is_closed(metadata.mode(), metadata.uid(), effective_user(), is_credential)
}

/// Whether a file of this mode and owner is open to nobody but its reader.
///
/// A file that root has given to one group is: so systemd hands over credentials (the bits of the
/// group are its access list then) and a kubelet secrets, and who reads them can change neither
/// owner nor mode. PostgreSQL judges the keys of its servers by the same rule.
const fn is_closed(mode: u32, owner: u32, reader: u32, is_credential: bool) -> bool {
    let given_by_root = owner == 0 && (reader != 0 || is_credential);
    let others = if given_by_root { MORE_THAN_READING } else { OTHERS };
    mode & others == 0
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_group_of_a_credential_alone_may_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root.key");
        fs::write(&path, "k").unwrap();
        let asked = |mode: u32, credentials: Option<&Path>| {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            is_private_in(credentials, &path, &fs::metadata(&path).unwrap())
        };
        let own = Some(directory.path());
        for mode in [0o600, 0o400] {
            assert!(asked(mode, None) && asked(mode, own), "{mode:o}");
        }
        for mode in [0o640, 0o440] {
            assert!(!asked(mode, None), "{mode:o}");
            assert!(!asked(mode, Some(Path::new("/run/credentials/other"))), "{mode:o}");
        }
        // Of root alone, as systemd makes them; whoever runs this may be somebody else.
        let by_root = fs::metadata(&path).unwrap().uid() == 0;
        assert_eq!(asked(0o440, own), by_root);
        for mode in [0o444, 0o660, 0o604] {
            assert!(!asked(mode, own), "{mode:o}");
        }
    }

    #[test]
    fn what_root_has_given_to_one_group_is_for_its_readers_alone() {
        const ROOT: u32 = 0;
        for (mode, owner, reader, closed) in [
            (0o400, 7, 7, true),
            (0o600, ROOT, ROOT, true),
            (0o440, ROOT, 7, true),
            (0o640, ROOT, 7, true),
            (0o440, ROOT, ROOT, false),
            (0o440, 7, 7, false),
            (0o440, 7, 8, false),
            (0o444, ROOT, 7, false),
            (0o460, ROOT, 7, false),
            (0o450, ROOT, 7, false),
        ] {
            assert_eq!(is_closed(mode, owner, reader, false), closed, "{mode:o} {owner} {reader}");
        }
    }

    #[test]
    fn a_path_is_placed_wherever_it_is() {
        let mut table: Table = toml::from_str(
            "a = \"$CREDENTIALS_DIRECTORY/x\"\nb = \"plain\"\n\
             [c]\nd = [\"$CREDENTIALS_DIRECTORY/y\"]\n",
        )
        .unwrap();
        let alone = place(&mut table.clone(), None).unwrap_err();
        assert!(alone.to_string().contains("LoadCredential="), "{alone}");
        place(&mut table, Some("/run/c")).unwrap();
        let expected: Table =
            toml::from_str("a = \"/run/c/x\"\nb = \"plain\"\n[c]\nd = [\"/run/c/y\"]\n").unwrap();
        assert_eq!(table, expected);
    }
}

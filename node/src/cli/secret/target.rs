//! Which secret a command is about: an id, or a name that is looked up in the folder.

use clap::Args;
use lockbox_core::SecretId;

use crate::cli::connect::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::secret::list::all_secrets;
use crate::cli::session::Session;

/// Characters of a generated id (`contract §2.1`).
const ID_CHARS: usize = 20;

/// The secret, named in one of three ways (`contract §11`).
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// The secret's name or id; what looks like an id is taken for one.
    #[arg(value_name = "NAME_OR_ID")]
    secret: Option<String>,
    /// The secret's id.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// The secret's name, which must be the only one in the folder.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl Target {
    /// The name to look up, when it is one.
    fn name(&self) -> Option<&str> {
        let is_name = |text: &&str| !looks_like_id(text, SecretId::PREFIX);
        let positional = self.secret.as_deref().filter(is_name);
        self.name.as_deref().or(positional)
    }

    /// The secret's id. A folder is needed only when a name must be looked up.
    pub(crate) async fn resolve(
        &self,
        session: &Session,
        context: &Context<'_>,
    ) -> Result<String, Failure> {
        match self.name() {
            Some(name) => {
                let folder = context.folder()?.id(session).await?;
                // Without a filter in the API, finding a name is reading the folder.
                let secrets = all_secrets(session, &folder, u64::MAX).await?;
                let named = secrets.iter().filter(|secret| secret.name == name);
                the_only("secret", name, &folder, named.map(|secret| secret.id.as_str()))
            }
            None => Ok(self.id.as_ref().or(self.secret.as_ref()).cloned().unwrap_or_default()),
        }
    }
}

/// Whether the text has the form of a generated id that begins like this.
pub(crate) fn looks_like_id(text: &str, prefix: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() == ID_CHARS && text.starts_with(prefix) && text.bytes().all(allowed)
}

/// The id of the only thing of this kind with this name, of all ids that have it.
pub(crate) fn the_only<'a>(
    kind: &str,
    name: &str,
    folder: &str,
    ids: impl Iterator<Item = &'a str>,
) -> Result<String, Failure> {
    let found: Vec<&str> = ids.collect();
    match found.as_slice() {
        [id] => Ok((*id).to_owned()),
        [] => Err(Failure::new(
            Exit::Refused,
            format_args!("NOT_FOUND: no {kind} of folder {folder} is named {name:?}"),
        )),
        several => Err(Failure::new(
            Exit::Refused,
            format_args!(
                "the name {name:?} belongs to several {kind}s, give one by --id: {}",
                several.join(", ")
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(secret: Option<&str>, id: Option<&str>, name: Option<&str>) -> Target {
        let owned = |text: Option<&str>| text.map(ToOwned::to_owned);
        Target { secret: owned(secret), id: owned(id), name: owned(name) }
    }

    #[test]
    fn what_looks_like_an_id_is_one_unless_it_is_said_to_be_a_name() {
        let id = "e6q0123456789abcdefg";
        assert_eq!(target(Some(id), None, None).name(), None);
        assert_eq!(target(None, None, Some(id)).name(), Some(id));
        assert_eq!(target(None, Some("db"), None).name(), None);
        for name in ["db", "e6q", "e6q0123456789ABCDEFG", "b1g0123456789abcdefg"] {
            assert_eq!(target(Some(name), None, None).name(), Some(name));
        }
    }

    #[test]
    fn a_name_must_match_exactly_and_be_the_only_one() {
        let secrets = [("1", "db"), ("2", "db2"), ("3", "x"), ("4", "x")];
        let id_of = |name: &str| {
            let named = secrets.iter().filter(|(_, other)| *other == name);
            the_only("secret", name, "f", named.map(|(id, _)| *id))
        };
        assert_eq!(id_of("db"), Ok("1".to_owned()));
        let absent = id_of("DB").unwrap_err();
        assert_eq!(absent.to_string(), "NOT_FOUND: no secret of folder f is named \"DB\"");
        let several = id_of("x").unwrap_err();
        assert!(several.to_string().ends_with("give one by --id: 3, 4"));
        assert_eq!(several.exit(), Exit::Refused);
    }
}

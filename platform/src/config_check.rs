//! Everything that is wrong with a configuration file, at once and with its line.
//!
//! The parser stops at the first mistake. Here each one is told and then taken out of the way: an
//! unknown key is removed, a value of the wrong kind too, and a key that is missing gets some value
//! that fits. What is made up like that is never judged. Refuses to know what the keys mean.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, Error};

use crate::config_file::WrongValue;

/// Tries at most; each of them takes one mistake out of the way, or finds a value for a key.
const TRIES_MAX: usize = 1_000;
/// One value of each kind that keys have. The text is an address, a path and a name as well.
const KINDS: &str = "a = \"127.0.0.1:1\"\nb = 1\nc = true\nd = []\ne = {}\n";

/// One mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Its line, from 1 on; absent where there is none, as for a key that is missing at the top.
    pub line: Option<usize>,
    /// What is wrong there.
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

/// All mistakes in a text, by line; `check` is what the configuration checks of itself.
pub fn mistakes<T: DeserializeOwned>(
    text: &str,
    check: impl Fn(&T) -> Result<(), WrongValue>,
) -> Vec<Mistake> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What cannot be read cannot be judged.
        let told = errors.iter().map(|error| Mistake {
            line: error.span().map(|span| line_of(text, &span)),
            problem: one_line(error.message()),
        });
        return told.collect::<BTreeSet<_>>().into_iter().collect();
    }
    let mut search = Search {
        text,
        root: document.into_inner(),
        judged: BTreeSet::new(),
        found: BTreeSet::new(),
    };
    for _ in 0..TRIES_MAX {
        let goes_on = match search.read::<T>() {
            Ok(config) => match check(&config) {
                Ok(()) => break,
                Err(wrong) => search.out_of_range(&wrong),
            },
            Err(error) => search.unreadable::<T>(&error),
        };
        if !goes_on {
            break;
        }
    }
    search.found.into_iter().collect()
}

/// The names of tables and of the key within them.
type KeyPath = Vec<String>;

struct Search<'t> {
    text: &'t str,
    root: DeTable<'t>,
    /// Keys that were told of, or made up: nothing more is said about them.
    judged: BTreeSet<KeyPath>,
    found: BTreeSet<Mistake>,
}

impl<'t> Search<'t> {
    fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let document = Spanned::new(0..0, self.root.clone());
        <T as serde::Deserialize<'_>>::deserialize(Deserializer::from(document))
    }

    /// Tells of what the parser stopped at, and gets it out of the way. False when that cannot be.
    fn unreadable<T: DeserializeOwned>(&mut self, error: &Error) -> bool {
        let path = path_of(error);
        if let Some(key) = key_in(error.message(), "unknown field `") {
            let path = joined(&path, key);
            let line = error.span().filter(|span| !span.is_empty());
            let line = line.map(|span| line_of(self.text, &span));
            self.tell(&path, line, one_line(error.message()));
            return self.remove(&path);
        }
        if let Some(key) = key_in(error.message(), "missing field `") {
            let within = path;
            let path = joined(&within, key);
            let line = self.line_of_key(&within);
            self.tell(&path, line, format!("{} is missing", path.join(".")));
            // Within a list there is no such path: the whole list goes.
            return self.make_up::<T>(&path) || self.remove(&within);
        }
        let line = error.span().filter(|span| !span.is_empty());
        let line = line.map(|span| line_of(self.text, &span)).or_else(|| self.line_of_key(&path));
        let problem = match path.as_slice() {
            [] => one_line(error.message()),
            path => format!("{}: {}", path.join("."), one_line(error.message())),
        };
        self.tell(&path, line, problem);
        self.remove(&path)
    }

    /// Tells of a value that is read, and refused. False when it is not in the text.
    fn out_of_range(&mut self, wrong: &WrongValue) -> bool {
        let path: KeyPath = wrong.key.split('.').map(str::to_owned).collect();
        let within = path.split_last().map(|(_, above)| above.to_vec()).unwrap_or_default();
        if self.judged.contains(&path) {
            return false;
        }
        let line = self.line_of_key(&path).or_else(|| self.line_of_key(&within));
        self.tell(&path, line, format!("{} {}", wrong.key, wrong.problem));
        // A default that does not go with its neighbours: the neighbours go.
        self.remove(&path) || self.remove(&within)
    }

    fn tell(&mut self, path: &[String], line: Option<usize>, problem: String) {
        if self.judged.insert(path.to_vec()) {
            self.found.insert(Mistake { line, problem });
        }
    }

    fn table(&self, path: &[String]) -> Option<&DeTable<'t>> {
        path.iter().try_fold(&self.root, |table, name| match table.get(name.as_str())?.get_ref() {
            DeValue::Table(inner) => Some(inner),
            _ => None,
        })
    }

    fn table_mut(&mut self, path: &[String]) -> Option<&mut DeTable<'t>> {
        path.iter().try_fold(&mut self.root, |table, name| {
            match table.get_mut(name.as_str())?.get_mut() {
                DeValue::Table(inner) => Some(inner),
                _ => None,
            }
        })
    }

    /// The line of a key, or of a table's heading; none for what is made up.
    fn line_of_key(&self, path: &[String]) -> Option<usize> {
        let (name, above) = path.split_last()?;
        let (key, _) = self.table(above)?.get_key_value(name.as_str())?;
        let span = key.span();
        (!span.is_empty()).then(|| line_of(self.text, &span))
    }

    fn remove(&mut self, path: &[String]) -> bool {
        let Some((name, above)) = path.split_last() else { return false };
        let removed = self.table_mut(above).and_then(|table| table.remove(name.as_str()));
        removed.is_some()
    }

    /// Puts a value of the kind that fits under a key.
    fn make_up<T: DeserializeOwned>(&mut self, path: &[String]) -> bool {
        let Some((name, above)) = path.split_last() else { return false };
        let kinds = DeTable::parse(KINDS).map(Spanned::into_inner).unwrap_or_default();
        for (_, value) in kinds {
            let Some(table) = self.table_mut(above) else { return false };
            // Gone first: the key that is there would stay with its place in the text.
            table.remove(name.as_str());
            table.insert(Spanned::new(0..0, Cow::Owned(name.clone())), value);
            match self.read::<T>() {
                Ok(_) => return true,
                Err(error) if path_of(&error) != *path || is_about_a_key(&error) => return true,
                Err(_) => {}
            }
        }
        self.remove(path);
        false
    }
}

/// Whether what is wrong is within the value, which is a table.
fn is_about_a_key(error: &Error) -> bool {
    let message = error.message();
    message.starts_with("missing field") || message.starts_with("unknown field")
}

/// Where the value is that could not be read. Only the error's text says so.
fn path_of(error: &Error) -> KeyPath {
    let text = error.to_string();
    let last = text.trim_end().lines().next_back().unwrap_or_default();
    let keys = last.strip_prefix("in `").and_then(|rest| rest.strip_suffix('`'));
    keys.map(|keys| keys.split('.').map(str::to_owned).collect()).unwrap_or_default()
}

fn key_in<'m>(message: &'m str, before: &str) -> Option<&'m str> {
    message.strip_prefix(before)?.split('`').next()
}

fn joined(path: &[String], key: &str) -> KeyPath {
    path.iter().cloned().chain([key.to_owned()]).collect()
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    let before = text.get(..span.start).unwrap_or(text);
    before.matches('\n').count() + 1
}

fn one_line(message: &str) -> String {
    message.trim().replace('\n', ", ")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Whole {
        id: u64,
        listen: std::net::SocketAddr,
        inner: Inner,
        #[serde(default)]
        optional: Optional,
        list: Option<Vec<Inner>>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        size: u32,
        path: std::path::PathBuf,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Optional {
        low: u32,
        high: u32,
        on: bool,
    }

    impl Default for Optional {
        fn default() -> Self {
            Self { low: 1, high: 10, on: false }
        }
    }

    fn check(whole: &Whole) -> Result<(), WrongValue> {
        let wrong = |key, problem| Err(WrongValue { key, problem });
        if whole.id == 0 {
            return wrong("id", "must be positive");
        }
        if whole.inner.size > 9 {
            return wrong("inner.size", "must be at most 9");
        }
        if whole.optional.high < whole.optional.low {
            return wrong("optional.high", "must be at least optional.low");
        }
        let sizes = whole.list.iter().flatten().map(|inner| inner.size);
        if sizes.sum::<u32>() > 100 || whole.inner.path.as_os_str().is_empty() {
            return wrong("list", "is too much");
        }
        if whole.listen.port() == 0 && whole.optional.on {
            return wrong("listen", "must have a port");
        }
        Ok(())
    }

    fn told(text: &str) -> Vec<String> {
        mistakes::<Whole>(text, check).iter().map(Mistake::to_string).collect()
    }

    const RIGHT: &str = "id = 1\nlisten = \"[::1]:9\"\n[inner]\nsize = 3\npath = \"p\"\n";

    #[test]
    fn what_is_right_has_no_mistakes() {
        assert_eq!(told(RIGHT), Vec::<String>::new());
        assert_eq!(told(&format!("{RIGHT}[optional]\nlow = 5\n")), Vec::<String>::new());
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_their_lines() {
        let text = "\
id = 0
listen = \"nowhere\"
colour = \"red\"

[inner]
size = \"many\"
sise = 3

[optional]
high = 0
on = 1
";
        let told = told(text);
        let expected = [
            "line 1: id must be positive",
            "line 2: listen: ",
            "line 3: unknown field `colour`",
            "line 5: inner.path is missing",
            "line 6: inner.size: ",
            "line 7: unknown field `sise`",
            "line 10: optional.high must be at least optional.low",
            "line 11: optional.on: ",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (mistake, expected) in told.iter().zip(expected) {
            assert!(mistake.starts_with(expected), "{mistake:?} is not {expected:?}");
        }
    }

    #[test]
    fn what_is_missing_is_named_and_its_inside_as_well() {
        let expected = [
            "id is missing",
            "inner is missing",
            "inner.path is missing",
            "inner.size is missing",
            "listen is missing",
        ];
        assert_eq!(told(""), expected);
    }

    #[test]
    fn a_list_goes_as_a_whole() {
        let text = format!("{RIGHT}[[list]]\nsize = 1\n[[list]]\nsize = 2\npath = 3\n");
        let told = told(&text);
        assert_eq!(told.len(), 1, "{told:#?}");
        assert!(told[0].ends_with("list.path is missing"), "{told:#?}");
    }

    #[test]
    fn a_default_that_does_not_fit_its_neighbours_is_told_of_at_their_table() {
        let told = told(&format!("{RIGHT}[optional]\nlow = 20\n"));
        assert_eq!(told, ["line 6: optional.high must be at least optional.low"]);
    }

    #[test]
    fn what_is_no_toml_is_judged_no_further() {
        let told = told("id = 0\nlisten = \n[inner\n");
        assert!(told.iter().any(|mistake| mistake.starts_with("line ")), "{told:#?}");
        assert!(told.iter().all(|mistake| !mistake.contains("positive")), "{told:#?}");
    }
}

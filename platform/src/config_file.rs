//! Configuration files of both servers: TOML, each key overridable by an environment variable.
//!
//! `api.listen` is overridden by `<PREFIX>API__LISTEN`, and so on: upper case, two underscores
//! between the table and the key. Every mistake is one sentence that names the file and the line
//! or key. Refuses to know what the keys mean.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Why there is no configuration; one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML, or a key is unknown, missing or of the wrong type.
    #[error("configuration {path} is wrong: {problem}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what, as the parser says it.
        problem: String,
    },
    /// A value is out of range.
    #[error("configuration {path} is wrong: {key} {problem}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// A key whose value is out of range, as a configuration's own checks report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongValue {
    /// The key.
    pub key: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Reads, overrides and checks a configuration file.
///
/// # Errors
/// [`ConfigError`].
pub fn load<T: DeserializeOwned>(
    path: &Path,
    environment: &[(String, String)],
    prefix: &str,
    check: impl FnOnce(&T) -> Result<(), WrongValue>,
) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let parsed = parse(&text, environment, prefix);
    let config = parsed.map_err(|problem| ConfigError::Parse { path: path.to_owned(), problem })?;
    check(&config).map_err(|WrongValue { key, problem }| ConfigError::Value {
        path: path.to_owned(),
        key,
        problem,
    })?;
    Ok(config)
}

/// Parses a TOML text; the problem, if there is one, is part of a sentence.
///
/// # Errors
/// The line and what is wrong there.
pub fn parse<T: DeserializeOwned>(
    text: &str,
    environment: &[(String, String)],
    prefix: &str,
) -> Result<T, String> {
    let mut overrides =
        environment.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value)));
    let Some(first) = overrides.next() else {
        // Straight from the text, so that the parser can name the line.
        return toml::from_str(text).map_err(|error| one_line(text, &error));
    };
    let mut table: toml::Table = toml::from_str(text).map_err(|error| one_line(text, &error))?;
    for (key, value) in std::iter::once(first).chain(overrides) {
        override_key(&mut table, key, value)
            .map_err(|inside| format!("{prefix}{key} names a key inside {inside}"))?;
    }
    table.try_into().map_err(|error: toml::de::Error| one_line("", &error))
}

/// Line and problem, as a part of a sentence: the parser's own text takes five lines.
#[must_use]
pub fn one_line(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().trim().replace('\n', ", ");
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message,
    }
}

/// Sets `TABLE__KEY`; a number or boolean where the text is one. Fails with the name of a key
/// that is no table.
fn override_key(table: &mut toml::Table, key: &str, value: &str) -> Result<(), String> {
    let parsed = match (value.parse::<i64>(), value.parse::<bool>()) {
        (Ok(number), _) => toml::Value::Integer(number),
        (_, Ok(flag)) => toml::Value::Boolean(flag),
        (Err(_), Err(_)) => toml::Value::String(value.to_owned()),
    };
    let lower = key.to_ascii_lowercase();
    match lower.split_once("__") {
        None => drop(table.insert(lower, parsed)),
        Some((name, inner)) => {
            let entry = table.entry(name).or_insert_with(|| toml::Table::new().into());
            let inner_table = entry.as_table_mut().ok_or(name)?;
            inner_table.insert(inner.to_owned(), parsed);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        size: u32,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        name: String,
        inner: Inner,
    }

    const FILE: &str = "name = \"a\"\n[inner]\nsize = 1\n";

    fn parsed(text: &str, environment: &[(&str, &str)]) -> Result<Outer, String> {
        let owned = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        parse(text, &owned.collect::<Vec<_>>(), "X_")
    }

    #[test]
    fn the_environment_overrides_keys_and_nested_keys() {
        let overridden = parsed(FILE, &[("X_NAME", "b"), ("X_INNER__SIZE", "2"), ("Y", "c")]);
        assert_eq!(overridden, Ok(Outer { name: "b".into(), inner: Inner { size: 2 } }));
        let problem = parsed(FILE, &[("X_NAME__Z", "1")]).unwrap_err();
        assert_eq!(problem, "X_NAME__Z names a key inside name");
    }

    #[test]
    fn line_and_problem_are_named_on_one_line() {
        let problem = parsed("name = \"a\"\n[inner]\nsise = 1\n", &[]).unwrap_err();
        assert!(problem.starts_with("line 3: ") && problem.contains("sise"), "{problem}");
        assert!(!problem.contains('\n'), "{problem}");
    }

    #[test]
    fn files_that_cannot_be_read_and_values_out_of_range_are_named() {
        let check = |_: &Outer| Err(WrongValue { key: "name", problem: "is wrong" });
        let missing = load(Path::new("/nowhere.toml"), &[], "X_", check).unwrap_err();
        assert!(missing.to_string().starts_with("cannot read the configuration /nowhere.toml"));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.toml");
        std::fs::write(&path, FILE).unwrap();
        let wrong = load(&path, &[], "X_", check).unwrap_err().to_string();
        assert!(wrong.ends_with("a.toml is wrong: name is wrong"), "{wrong}");
    }
}

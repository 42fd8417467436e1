//! Configuration files of both servers: TOML, each key overridable by an environment variable.
//!
//! `api.listen` is overridden by `<PREFIX>API__LISTEN`, and so on: upper case, two underscores
//! between the table and the key. Every mistake is one sentence that names the file and the line
//! or key. Refuses to know what the keys mean.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::credentials::{self, NoCredentials};

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
    /// A variable of the environment gives a key a value that it cannot have.
    #[error("the environment variable {name} is wrong: {problem}")]
    Variable {
        /// The variable.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A path is that of a credential, and there is no directory of them.
    #[error("configuration {path} is wrong: {error}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is missing.
        error: NoCredentials,
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
    let overrides = overrides(environment, prefix);
    let credentials = credentials::of(environment);
    let config: T = parse(&text, &overrides, credentials).map_err(|mistake| match mistake {
        Mistake::Credentials(error) => ConfigError::Credentials { path: path.to_owned(), error },
        Mistake::Text(problem) => ConfigError::Parse { path: path.to_owned(), problem },
        Mistake::Variable { key, problem } => {
            ConfigError::Variable { name: format!("{prefix}{key}"), problem }
        }
    })?;
    check(&config).map_err(|WrongValue { key, problem }| {
        let variable = key.replace('.', "__").to_ascii_uppercase();
        match overrides.iter().find(|(name, _)| name.eq_ignore_ascii_case(&variable)) {
            Some((name, _)) => ConfigError::Variable {
                name: format!("{prefix}{name}"),
                problem: format!("{key} {problem}"),
            },
            None => ConfigError::Value { path: path.to_owned(), key, problem },
        }
    })?;
    Ok(config)
}

/// Keys, as variables spell them, with their values.
type Overrides<'e> = Vec<(&'e str, &'e str)>;

fn overrides<'e>(environment: &'e [(String, String)], prefix: &str) -> Overrides<'e> {
    let stripped = environment.iter().map(|(name, value)| (name.strip_prefix(prefix), value));
    stripped.filter_map(|(key, value)| Some((key?, value.as_str()))).collect()
}

/// Where a text with its overrides is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mistake {
    /// In the text: the line and what is wrong there.
    Text(String),
    /// In one override.
    Variable { key: String, problem: String },
    /// Neither: systemd has not said where its credentials are.
    Credentials(NoCredentials),
}

/// Parses a TOML text.
fn parse<T: DeserializeOwned>(
    text: &str,
    overrides: &[(&str, &str)],
    credentials: Option<&str>,
) -> Result<T, Mistake> {
    let in_text = |error: &toml::de::Error| Mistake::Text(one_line(text, error));
    if overrides.is_empty() && !text.contains(credentials::PREFIX) {
        // Straight from the text, so that the parser can name the line.
        return toml::from_str(text).map_err(|error| in_text(&error));
    }
    let table: toml::Table = toml::from_str(text).map_err(|error| in_text(&error))?;
    let mut whole = overridden(table.clone(), overrides)?;
    credentials::place(&mut whole, credentials).map_err(Mistake::Credentials)?;
    let error = match whole.try_into() {
        Ok(config) => return Ok(config),
        Err(error) => one_line("", &error),
    };
    // To blame is the override without which all would be well. There may be none: then it is the
    // text, whose own line says more when it is wrong by itself.
    for blamed in 0..overrides.len() {
        let others: Vec<_> = overrides[..blamed].iter().chain(&overrides[blamed + 1..]).collect();
        let others: Vec<_> = others.into_iter().copied().collect();
        if overridden(table.clone(), &others)?.try_into::<T>().is_ok() {
            return Err(Mistake::Variable { key: overrides[blamed].0.to_owned(), problem: error });
        }
    }
    if let Err(by_itself) = toml::from_str::<T>(text) {
        return Err(in_text(&by_itself));
    }
    // Two or more are wrong: the first one is named, then the next time the next one.
    for (count, (key, _)) in (1..).zip(overrides) {
        if let Err(error) = overridden(table.clone(), &overrides[..count])?.try_into::<T>() {
            return Err(Mistake::Variable {
                key: (*key).to_owned(),
                problem: one_line("", &error),
            });
        }
    }
    Err(Mistake::Text(error))
}

fn overridden(mut table: toml::Table, overrides: &[(&str, &str)]) -> Result<toml::Table, Mistake> {
    for (key, value) in overrides {
        override_key(&mut table, key, value).map_err(|inside| Mistake::Variable {
            key: (*key).to_owned(),
            problem: format!("it names a key inside {inside}"),
        })?;
    }
    Ok(table)
}

/// Line, key and problem, as a part of a sentence: the parser's own text takes five lines.
#[must_use]
pub fn one_line(text: &str, error: &toml::de::Error) -> String {
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        // Without a text there is no line, but the parser names the key.
        return error.to_string().trim().replace('\n', ", ");
    };
    let message = error.message().trim().replace('\n', ", ");
    let line = before.matches('\n').count() + 1;
    match key_on(before) {
        Some(key) if !message.contains(&format!("`{key}`")) => {
            format!("line {line}: {key}: {message}")
        }
        Some(_) | None => format!("line {line}: {message}"),
    }
}

/// The key whose value begins where this text ends.
fn key_on(before: &str) -> Option<&str> {
    let line = before.rsplit('\n').next()?;
    let (key, rest) = line.split_once('=')?;
    rest.trim().is_empty().then_some(key.trim())
}

/// Sets `TABLE__KEY`, also of a table within a table; a number or boolean where the text is one. Fails with the name of a key
/// that is no table.
fn override_key(table: &mut toml::Table, key: &str, value: &str) -> Result<(), String> {
    let lower = key.to_ascii_lowercase();
    let Some((name, inner)) = lower.split_once("__") else {
        let parsed = match (value.parse::<i64>(), value.parse::<bool>()) {
            (Ok(number), _) => toml::Value::Integer(number),
            (_, Ok(flag)) => toml::Value::Boolean(flag),
            (Err(_), Err(_)) => match fraction(value) {
                Some(fraction) => toml::Value::Float(fraction),
                None => toml::Value::String(value.to_owned()),
            },
        };
        table.insert(lower, parsed);
        return Ok(());
    };
    let entry = table.entry(name).or_insert_with(|| toml::Table::new().into());
    override_key(entry.as_table_mut().ok_or(name)?, inner, value)
}

/// A number such as 0.25; no word that could be read as one.
fn fraction(value: &str) -> Option<f64> {
    let shape = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    value.bytes().all(shape).then(|| value.parse().ok()).flatten()
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

    fn loaded(text: &str, environment: &[(&str, &str)]) -> Result<Outer, String> {
        let owned = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.toml");
        std::fs::write(&path, text).unwrap();
        let check = |outer: &Outer| match outer.inner.size {
            0 => Err(WrongValue { key: "inner.size", problem: "must be positive" }),
            _ => Ok(()),
        };
        let loaded = load(&path, &owned.collect::<Vec<_>>(), "X_", check);
        loaded.map_err(|error| error.to_string().replace(path.to_str().unwrap(), "a.toml"))
    }

    #[test]
    fn the_environment_overrides_keys_and_nested_keys() {
        let overridden = loaded(FILE, &[("X_NAME", "b"), ("X_INNER__SIZE", "2"), ("Y", "c")]);
        assert_eq!(overridden, Ok(Outer { name: "b".into(), inner: Inner { size: 2 } }));
        let problem = loaded(FILE, &[("X_NAME__Z", "1")]).unwrap_err();
        assert_eq!(
            problem,
            "the environment variable X_NAME__Z is wrong: it names a key inside name"
        );
    }

    #[test]
    fn paths_of_credentials_are_those_of_the_service() {
        let text = "name = \"$CREDENTIALS_DIRECTORY/key\"\n[inner]\nsize = 1\n";
        let path = |name: &str| Outer { name: name.into(), inner: Inner { size: 1 } };
        let directory = ("CREDENTIALS_DIRECTORY", "/run/credentials/a");
        assert_eq!(loaded(text, &[directory]), Ok(path("/run/credentials/a/key")));
        let named = ("X_NAME", "$CREDENTIALS_DIRECTORY/other");
        assert_eq!(loaded(FILE, &[directory, named]), Ok(path("/run/credentials/a/other")));
        let alone = loaded(text, &[]).unwrap_err();
        assert!(alone.contains("CREDENTIALS_DIRECTORY is not set"), "{alone}");
        let wrong = loaded(&text.replace("size = 1", "size = -1"), &[directory]).unwrap_err();
        assert!(wrong.contains("line 3: size: "), "{wrong}");
    }

    #[test]
    fn variables_are_what_they_look_like_in_tables_within_tables_too() {
        let mut table = toml::Table::new();
        for (key, value) in [
            ("A__B__C", "0.25"),
            ("A__B__D", "7"),
            ("A__E", "true"),
            ("F", "1.2.3"),
            ("G", "inf"),
            ("H", "."),
        ] {
            override_key(&mut table, key, value).unwrap();
        }
        let expected = "f = \"1.2.3\"\ng = \"inf\"\nh = \".\"\n\
                        [a]\ne = true\n[a.b]\nc = 0.25\nd = 7\n";
        assert_eq!(table, toml::from_str::<toml::Table>(expected).unwrap());
    }

    #[test]
    fn a_wrong_variable_is_named_and_the_file_is_not_blamed() {
        for (name, value, problem) in [
            ("X_INNER__SIZE", "many", "inner.size"),
            ("X_INNER__SISE", "1", "sise"),
            ("X_INNER__SIZE", "0", "inner.size must be positive"),
        ] {
            let wrong = loaded(FILE, &[("X_NAME", "b"), (name, value)]).unwrap_err();
            let named = format!("the environment variable {name} is wrong: ");
            assert!(wrong.starts_with(&named) && wrong.contains(problem), "{wrong}");
            assert!(!wrong.contains('\n'), "{wrong}");
        }
        let two = [("X_NAMED", "b"), ("X_INNER__SIZE", "many")];
        let wrong = loaded(FILE, &two).unwrap_err();
        assert!(wrong.starts_with("the environment variable X_NAMED is wrong: "), "{wrong}");
        let wrong = loaded("name = 1\n[inner]\nsize = 1\n", &[("X_INNER__SIZE", "2")]).unwrap_err();
        assert!(wrong.starts_with("configuration a.toml is wrong: line 1: name: "), "{wrong}");
    }

    #[test]
    fn line_key_and_problem_are_named_on_one_line() {
        let problem = loaded("name = \"a\"\n[inner]\nsise = 1\n", &[]).unwrap_err();
        assert!(problem.contains("line 3: ") && problem.contains("sise"), "{problem}");
        assert!(!problem.contains('\n'), "{problem}");
        let problem = loaded("name = \"a\"\n[inner]\nsize = -1\n", &[]).unwrap_err();
        assert!(problem.contains("line 3: size: "), "{problem}");
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

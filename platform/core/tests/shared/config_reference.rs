//! The reference of a configuration: keys and what they mean from the structures in its source and
//! their comments, values from a configuration that was read.
//!
//! Compared with the file in `docs/reference`, or written there when `LOCKBOX_WRITE_REFERENCE` is
//! set.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const WRITE: &str = "LOCKBOX_WRITE_REFERENCE";

/// What is needed to make one.
pub(crate) struct Reference<'a> {
    /// The file in `docs/reference`.
    pub(crate) file: &'a str,
    /// What stands before the tables.
    pub(crate) head: &'a str,
    /// Sources with the structures, from the root of the repository; of a directory, every file.
    pub(crate) sources: &'a [&'a str],
    /// The structure of the whole file.
    pub(crate) root: &'a str,
    /// A configuration with all tables, and in each of them nothing but what is required.
    pub(crate) smallest: &'a str,
    /// The same, read, as `{:?}` shows it.
    pub(crate) read: String,
}

#[derive(Default)]
struct Structures {
    structs: BTreeMap<String, Struct>,
    enums: BTreeMap<String, Vec<(String, String)>>,
}

#[derive(Default)]
struct Struct {
    doc: String,
    fields: Vec<Field>,
}

struct Field {
    name: String,
    kind: String,
    doc: String,
}

/// Fails when the file is not what the code says, and says how to write it.
pub(crate) fn check(reference: &Reference<'_>) {
    let path = root().join("docs/reference").join(reference.file);
    let made = made(reference);
    if std::env::var_os(WRITE).is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, made).unwrap();
        return;
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let different = there.lines().zip(made.lines()).find(|(there, made)| there != made);
    assert!(
        there == made,
        "{} is not what the code says: run this test with {WRITE}=1. It begins to differ at \
         {different:?}",
        path.display()
    );
}

/// The root of the repository: the package is one directory below it.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn made(reference: &Reference<'_>) -> String {
    let mut structures = Structures::default();
    for source in reference.sources {
        for file in files(&root().join(source)) {
            structures.learn(&std::fs::read_to_string(file).unwrap());
        }
    }
    let smallest: toml::Value = toml::from_str(reference.smallest).unwrap();
    let mut text = reference.head.to_owned();
    let place = Place { path: String::new(), read: &reference.read, given: Some(&smallest) };
    structures.table(reference.root, &place, &mut text);
    text
}

fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let is_source = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "rs");
    let mut found: Vec<_> = entries.filter(is_source).collect();
    found.sort();
    found
}

/// One table of the file.
struct Place<'a> {
    /// Its name; empty at the top.
    path: String,
    /// The structure that was read for it.
    read: &'a str,
    /// What the smallest configuration has there.
    given: Option<&'a toml::Value>,
}

impl Structures {
    /// Reads the structures and enumerations of a source that rustfmt has laid out.
    fn learn(&mut self, source: &str) {
        let mut doc = Vec::new();
        let mut open: Option<(bool, String)> = None;
        for line in source.lines() {
            let trimmed = line.trim();
            if let Some(comment) = trimmed.strip_prefix("///") {
                doc.push(plain(comment.trim()));
                continue;
            }
            if trimmed.starts_with("#[") || trimmed.starts_with("//") {
                continue;
            }
            match &open {
                None => {
                    if let Some((is_struct, name)) = declared(line) {
                        let doc = without_sources(&doc.join(" "));
                        if is_struct {
                            let fields = Vec::new();
                            self.structs.insert(name.clone(), Struct { doc, fields });
                        } else {
                            self.enums.insert(name.clone(), Vec::new());
                        }
                        open = Some((is_struct, name));
                    }
                }
                Some(_) if line == "}" => open = None,
                Some((true, name)) => {
                    if let Some((field, kind)) = field(trimmed) {
                        let doc = without_sources(&doc.join(" "));
                        let fields = &mut self.structs.get_mut(name).unwrap().fields;
                        fields.push(Field { name: field, kind, doc });
                    }
                }
                Some((false, name)) => {
                    let variant = trimmed.trim_end_matches(',').to_lowercase();
                    self.enums.get_mut(name).unwrap().push((variant, doc.join(" ")));
                }
            }
            doc.clear();
        }
    }

    /// A table with a line for each of its keys, then the tables within it.
    fn table(&self, name: &str, place: &Place<'_>, text: &mut String) {
        let structure = self.structs.get(name);
        let structure =
            structure.unwrap_or_else(|| panic!("the source of {name} is not among the sources"));
        let read = fields_of(place.read);
        let (tables, keys): (Vec<_>, Vec<_>) =
            structure.fields.iter().partition(|field| self.is_table(&field.kind));
        if !keys.is_empty() {
            text.push_str("| key | default | what it is |\n|---|---|---|\n");
        }
        for field in keys {
            let is_given = place.given.is_some_and(|given| given.get(&field.name).is_some());
            let default = match read.get(field.name.as_str()) {
                _ if is_given => "required".to_owned(),
                Some(value) => shown(value),
                None => panic!("{}.{} was not read", place.path, field.name),
            };
            let doc = format!("{}{}", field.doc, self.choices(&field.kind)).replace('|', "\\|");
            writeln!(text, "| `{}` | {default} | {doc} |", field.name).unwrap();
        }
        for field in tables {
            let path = match place.path.as_str() {
                "" => field.name.clone(),
                above => format!("{above}.{}", field.name),
            };
            let kind = innermost(&field.kind);
            let is_list = field.kind.contains("Vec<");
            let heading = if is_list { format!("`[[{path}]]`") } else { format!("`[{path}]`") };
            let optional = if field.kind.starts_with("Option<") { " Optional." } else { "" };
            let doc = if field.doc.is_empty() { &self.structs[kind].doc } else { &field.doc };
            write!(text, "\n## {heading}\n\n{doc}{optional}\n\n").unwrap();
            let read = read[field.name.as_str()];
            let given = place.given.and_then(|given| given.get(&field.name));
            let given = if is_list { given.and_then(|list| list.get(0)) } else { given };
            self.table(kind, &Place { path, read: unwrapped(read), given }, text);
        }
    }

    fn is_table(&self, kind: &str) -> bool {
        let kind = innermost(kind);
        let is_foreign = kind.ends_with("Config") && !self.structs.contains_key(kind);
        assert!(!is_foreign, "the source of {kind} is not among the sources");
        self.structs.contains_key(kind)
    }

    /// What there is to choose from.
    fn choices(&self, kind: &str) -> String {
        let Some(variants) = self.enums.get(innermost(kind)) else { return String::new() };
        let told = variants.iter().map(|(name, doc)| {
            let doc = doc.trim_end_matches('.');
            format!("`\"{name}\"`: {}{}.", doc[..1].to_lowercase(), &doc[1..])
        });
        format!(" {}", told.collect::<Vec<_>>().join(" "))
    }
}

/// The name behind `struct` or `enum`; true for the first.
fn declared(line: &str) -> Option<(bool, String)> {
    let line = ["pub(crate) ", "pub(super) ", "pub "]
        .iter()
        .find_map(|before| line.strip_prefix(before))
        .unwrap_or(line);
    let name = line.strip_suffix(" {")?;
    match name.strip_prefix("struct ") {
        Some(name) => Some((true, name.to_owned())),
        None => Some((false, name.strip_prefix("enum ")?.to_owned())),
    }
}

/// A field's name and type.
fn field(line: &str) -> Option<(String, String)> {
    let line = ["pub(crate) ", "pub(super) ", "pub "]
        .iter()
        .find_map(|before| line.strip_prefix(before))
        .unwrap_or(line);
    let (name, kind) = line.strip_suffix(',')?.split_once(": ")?;
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
    name.bytes().all(fits).then(|| (name.to_owned(), kind.to_owned()))
}

/// The type within `Option`s and lists.
fn innermost(kind: &str) -> &str {
    let inner = ["Option<", "Vec<"].iter().find_map(|outer| kind.strip_prefix(outer));
    match inner.and_then(|inner| inner.strip_suffix('>')) {
        Some(inner) => innermost(inner),
        None => kind,
    }
}

/// A comment without the links of rustdoc.
fn plain(comment: &str) -> String {
    comment.replace("[`", "`").replace("`]", "`")
}

/// A comment without the places that its rule comes from: they say nothing to who sets a key.
fn without_sources(comment: &str) -> String {
    let mut text = comment.to_owned();
    for mark in [" (`contract", " (`design", " (`openraft"] {
        while let Some(begin) = text.find(mark) {
            let end = text[begin..].find(')').map_or(text.len(), |end| begin + end + 1);
            text.replace_range(begin..end, "");
        }
    }
    text
}

/// What is in `Some(…)`, or the first of a list; else the same.
fn unwrapped(read: &str) -> &str {
    let some = read.strip_prefix("Some(").and_then(|inner| inner.strip_suffix(')'));
    let list = || read.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    match some.or_else(list) {
        Some(inner) if !inner.is_empty() => unwrapped(pieces(inner)[0]),
        Some(_) | None => read,
    }
}

/// The fields of a structure, as `{:?}` shows it.
fn fields_of(read: &str) -> BTreeMap<&str, &str> {
    let inner = read.split_once(" { ").and_then(|(_, inner)| inner.strip_suffix(" }"));
    let inner = inner.unwrap_or_else(|| panic!("{read} is no structure"));
    pieces(inner).into_iter().map(|piece| piece.split_once(": ").unwrap()).collect()
}

/// What is between commas, those within brackets and texts aside.
fn pieces(text: &str) -> Vec<&str> {
    let (mut found, mut begin, mut depth) = (Vec::new(), 0, 0_u32);
    let (mut in_text, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            _ if in_text => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(text[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    found.push(text[begin..].trim());
    found
}

/// A value as the file would have it.
fn shown(read: &str) -> String {
    let some = read.strip_prefix("Some(").and_then(|inner| inner.strip_suffix(')'));
    let read = some.unwrap_or(read);
    let is_variant = read.starts_with(|c: char| c.is_ascii_uppercase());
    match read {
        "None" => "absent".to_owned(),
        _ if is_variant => format!("`\"{}\"`", read.to_lowercase()),
        _ => format!("`{read}`"),
    }
}

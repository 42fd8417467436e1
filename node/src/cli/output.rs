//! How answers are printed: YAML, JSON in both spellings, tables.
//!
//! Promises: fields appear in the order and with the names of the definitions, absent ones not
//! at all, binary values as base64. Text in tables is shown with control characters escaped, for
//! names may hold any. Knows no message in particular.

use std::fmt::Display;
use std::io::{self, Write};
use std::ops::ControlFlow;

use clap::ValueEnum;
use lockbox_proto::descriptor_pool;
use prost::{Message, Name};
use prost_reflect::{DynamicMessage, SerializeOptions};
use prost_types::Any;
use serde::{Serialize, Serializer};

use crate::cli::failure::{Exit, Failure, one_line};

/// How an answer is printed (`contract §11`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: one object as YAML, several as a table.
    #[value(alias = "table")]
    Text,
    /// YAML.
    Yaml,
    /// JSON with the names of the definitions.
    Json,
    /// JSON as the REST API has it.
    JsonRest,
}

impl Format {
    /// Its names, for messages.
    pub(crate) fn names() -> String {
        let values = Self::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        values.map(|value| value.get_name().to_owned()).collect::<Vec<_>>().join(", ")
    }
}

/// An answer, ready to be printed.
#[derive(Debug)]
pub(crate) struct Record(DynamicMessage);

impl Record {
    /// This message.
    pub(crate) fn of<M: Message + Name>(message: &M) -> Result<Self, Failure> {
        let descriptor = descriptor_pool().get_message_by_name(&M::full_name());
        let descriptor = descriptor.ok_or_else(|| undefined(&M::full_name()))?;
        let mut record = DynamicMessage::new(descriptor);
        record.transcode_from(message).map_err(|_error| undefined(&M::full_name()))?;
        Ok(Self(record))
    }

    /// The message in an operation.
    pub(crate) fn of_any(any: &Any) -> Result<Self, Failure> {
        let name = any.type_url.rsplit('/').next().unwrap_or_default();
        let descriptor = descriptor_pool().get_message_by_name(name);
        let descriptor = descriptor.ok_or_else(|| undefined(name))?;
        let decoded = DynamicMessage::decode(descriptor, any.value.as_slice());
        decoded.map(Self).map_err(|_error| undefined(name))
    }
}

fn undefined(name: &str) -> Failure {
    Failure::new(Exit::Internal, format_args!("the answer {name:?} cannot be shown"))
}

/// A message in the spelling of a format.
struct View<'a> {
    message: &'a DynamicMessage,
    rest: bool,
}

impl Serialize for View<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Numbers of 64 bits are text in the JSON of REST, where readers have only doubles.
        let options = SerializeOptions::new()
            .use_proto_field_name(!self.rest)
            .stringify_64_bit_integers(self.rest);
        self.message.serialize_with_options(serializer, &options)
    }
}

/// One object.
pub(crate) fn one(format: Format, record: &Record) -> Result<String, Failure> {
    let view = View { message: &record.0, rest: format == Format::JsonRest };
    match format {
        Format::Text | Format::Yaml => yaml(&view),
        Format::Json | Format::JsonRest => json(&view),
    }
}

/// One object on one line, as JSON in the spelling of a format.
pub(crate) fn line(format: Format, record: &Record) -> Result<String, Failure> {
    let view = View { message: &record.0, rest: format == Format::JsonRest };
    let text = serde_json::to_string(&view).map_err(|_error| unprintable())?;
    Ok(text + "\n")
}

/// Several objects; `table` is how people see them.
pub(crate) fn many(
    format: Format,
    records: &[Record],
    table: impl FnOnce() -> Table,
) -> Result<String, Failure> {
    let rest = format == Format::JsonRest;
    let views: Vec<_> = records.iter().map(|record| View { message: &record.0, rest }).collect();
    match format {
        Format::Text => Ok(table().render()),
        Format::Yaml => yaml(&views),
        Format::Json | Format::JsonRest => json(&views),
    }
}

/// Anything that is no message.
pub(crate) fn value(format: Format, value: &impl Serialize) -> Result<String, Failure> {
    match format {
        Format::Text | Format::Yaml => yaml(value),
        Format::Json | Format::JsonRest => json(value),
    }
}

/// Anything, as YAML.
pub(crate) fn yaml(value: &impl Serialize) -> Result<String, Failure> {
    let options = serde_saphyr::ser_options! {
        // A long value on one line is easier to copy and to search than a folded one.
        folded_wrap_chars: usize::MAX,
    };
    serde_saphyr::to_string_with_options(value, options).map_err(|_error| unprintable())
}

/// Anything, as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|_error| unprintable())?;
    Ok(text + "\n")
}

/// The error of a serializer may quote what it was given.
fn unprintable() -> Failure {
    Failure::new(Exit::Internal, "the answer cannot be printed in this format")
}

/// Rows under headings.
#[derive(Debug)]
pub(crate) struct Table {
    /// The headings.
    pub(crate) columns: Vec<&'static str>,
    /// One cell for each heading.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// The table with its frame.
    pub(crate) fn render(&self) -> String {
        let head: Vec<String> = self.columns.iter().map(|&name| name.to_owned()).collect();
        let shown = |row: &Vec<String>| row.iter().map(|cell| one_line(cell)).collect();
        let rows: Vec<Vec<String>> = self.rows.iter().map(shown).collect();
        let width = |column: usize| {
            let cells = rows.iter().chain([&head]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let rule: String = widths.iter().map(|width| format!("+{:-<1$}", "", width + 2)).collect();
        let line = |row: &Vec<String>| {
            let cells = widths.iter().zip(row).map(|(width, cell)| format!("| {cell:width$} "));
            cells.collect::<String>() + "|\n"
        };
        let body: String = rows.iter().map(line).collect();
        let bottom = if rows.is_empty() { String::new() } else { format!("{rule}+\n") };
        format!("{rule}+\n{}{rule}+\n{body}{bottom}", line(&head))
    }
}

/// Writes to standard output. Who has stopped reading has seen enough: that is no failure.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    write_some(bytes).map(drop)
}

/// Writes a part of what there is to tell; whether anybody reads on.
pub(crate) fn write_some(bytes: &[u8]) -> Result<ControlFlow<()>, Failure> {
    write_to(&mut io::stdout().lock(), bytes)
}

/// Says something beside the output, on standard error.
pub(crate) fn note(sentence: impl Display) {
    // Nobody is left to tell when standard error is closed.
    writeln!(io::stderr().lock(), "lockbox: {}", one_line(&sentence.to_string())).ok();
}

fn write_to(output: &mut impl Write, bytes: &[u8]) -> Result<ControlFlow<()>, Failure> {
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(Failure::usage(format_args!("cannot write the output: {error}"))),
    }
}

#[cfg(test)]
mod tests;

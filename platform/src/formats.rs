//! Formats on disk, in the log and on the wire: which ones a build writes, and which it reads.
//!
//! Owns how they are told to an operator who is about to change builds. What the formats are is
//! the servers' own business.

use std::fmt::Write;

use serde::Serialize;

/// A format, as one build has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Format {
    /// Its name.
    pub name: &'static str,
    /// The version that is written, or spoken to a peer that speaks it, too.
    pub writes: u32,
    /// The oldest version that is read.
    pub reads_from: u32,
    /// The newest version that is read.
    pub reads_to: u32,
    /// What is in it.
    pub what: &'static str,
}

impl Format {
    /// A format of which one version is written and read.
    #[must_use]
    pub const fn only(name: &'static str, version: u32, what: &'static str) -> Self {
        Self { name, writes: version, reads_from: version, reads_to: version, what }
    }
}

/// A program with its formats, to be serialized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Build<'a> {
    /// The program.
    pub program: &'a str,
    /// Its version.
    pub version: &'a str,
    /// What it writes and reads; empty unless that was asked for.
    #[serde(skip_serializing_if = "is_empty")]
    pub formats: &'a [Format],
}

const fn is_empty(formats: &&[Format]) -> bool {
    formats.is_empty()
}

impl Build<'_> {
    /// For people: the program and its version, then a line for each format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{} {}\n", self.program, self.version);
        if self.formats.is_empty() {
            return text;
        }
        let longest = self.formats.iter().map(|format| format.name.len()).max();
        let width = longest.unwrap_or_default().max("FORMAT".len());
        let mut line = |name: &str, writes: &str, reads: &str, what: &str| {
            // INVARIANT: writing into a String cannot fail.
            writeln!(text, "{name:width$}  {writes:6}  {reads:6}  {what}").ok();
        };
        line("FORMAT", "WRITES", "READS", "OF");
        for Format { name, writes, reads_from, reads_to, what } in self.formats {
            let reads = if reads_from == reads_to {
                reads_to.to_string()
            } else {
                format!("{reads_from}-{reads_to}")
            };
            line(name, &writes.to_string(), &reads, what);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_one_line_and_each_format_another() {
        let build = Build { program: "p", version: "1.2.3", formats: &[] };
        assert_eq!(build.text(), "p 1.2.3\n");
        let range = Format { reads_from: 1, ..Format::only("records", 3, "records") };
        let formats = [Format::only("a", 2, "letters"), range];
        let text = Build { formats: &formats, ..build.clone() }.text();
        let expected = "\
p 1.2.3
FORMAT   WRITES  READS   OF
a        2       2       letters
records  3       1-3     records
";
        assert_eq!(text, expected);
        assert_eq!(serde_json::to_string(&build).unwrap(), r#"{"program":"p","version":"1.2.3"}"#);
    }
}

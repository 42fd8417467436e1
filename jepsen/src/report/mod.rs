//! Draws a run: one page with the verdict in words, tables and pictures, and the pictures as
//! files of their own.
//!
//! Promises the same bytes for the same input, that nothing of a history can become markup, and
//! that what is left out of a picture is said beside it. Judges nothing: the findings come from
//! the checkers and are shown as they are.

mod fault_spans;
pub mod input;
mod latency;
mod marks;
mod markup;
mod nemesis_strip;
pub mod of_verdict;
mod op_words;
mod outcome;
mod page;
mod palette;
mod picture;
mod quantity;
mod raft_lanes;
mod raft_states;
mod rate;
mod scale;
mod tables;
mod tally;
mod window;
mod window_picture;

use std::path::{Path, PathBuf};

use input::Input;
use nemesis_strip::Strip;
use page::{Pictures, WINDOWS_MAX};

/// A report that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}")]
pub struct Error {
    /// The file or directory.
    path: PathBuf,
    /// Why.
    #[source]
    source: std::io::Error,
}

/// A file of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name: `index.html`, or a picture's.
    pub name: String,
    /// Its content.
    pub content: String,
}

/// Makes the files of a report: `index.html`, which needs none of the others, and each of its
/// pictures as an SVG file.
#[must_use]
pub fn render(input: &Input<'_>) -> Vec<File> {
    let end_ns = input.end_ns();
    let spans = fault_spans::spans(&input.history.faults, end_ns);
    let no_majority = fault_spans::without_majority(&input.history.majority(), end_ns);
    let strip = Strip::of(input, &spans, &no_majority);
    let mut windows = Vec::new();
    for violation in &input.findings.violations {
        if windows.len() == WINDOWS_MAX {
            break;
        }
        if let Some(window) = window::window(input, violation) {
            let picture = window_picture::draw(&window, windows.len() + 1, end_ns);
            windows.push((violation, picture));
        }
    }
    let over_time = vec![
        latency::draw(input, &strip),
        rate::draw(input, &strip),
        raft_lanes::draw(input, &spans, &strip),
    ];
    let pictures = Pictures { windows, over_time };
    let page = File { name: "index.html".to_owned(), content: page::page(input, &pictures) };
    let drawn = pictures.windows.iter().map(|(_, picture)| picture).chain(&pictures.over_time);
    let files = drawn
        .map(|picture| File { name: format!("{}.svg", picture.name), content: picture.document() });
    std::iter::once(page).chain(files).collect()
}

/// Writes a report into a directory, which is made if it is not there, and gives the path of its
/// page.
///
/// # Errors
/// The directory or a file could not be written.
pub fn write(input: &Input<'_>, directory: &Path) -> Result<PathBuf, Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| Error { path, source }
    };
    std::fs::create_dir_all(directory).map_err(failed(directory))?;
    for file in render(input) {
        let path = directory.join(&file.name);
        std::fs::write(&path, &file.content).map_err(failed(&path))?;
    }
    Ok(directory.join("index.html"))
}

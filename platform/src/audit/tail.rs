//! The last lines of an audit, and those that follow.

use std::collections::VecDeque;
use std::io;

use crate::audit::files::AuditFiles;
use crate::audit::walk::{LineRead, Walk, WalkedFile, open_finished};

/// Reads on where the last lines end.
pub struct Tail<'a> {
    walk: Walk<'a>,
    /// Nothing while there is no file to write to.
    file: Option<WalkedFile>,
    /// The file behind it, once it is finished.
    behind: Option<WalkedFile>,
    /// The line that has no end yet.
    begun: Vec<u8>,
}

impl<'a> Tail<'a> {
    /// The last lines, `count` at most and the oldest first, and what reads on behind them.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn begin(files: &'a AuditFiles, count: usize) -> io::Result<(Vec<Vec<u8>>, Self)> {
        let finished = files.finished()?;
        let walk = Walk::behind(files, finished.last().copied());
        let mut tail = Self { walk, file: None, behind: None, begun: Vec::new() };
        let mut lines = VecDeque::new();
        while let Some(line) = tail.next_line()? {
            keep_last(&mut lines, line, count);
        }
        for number in finished.into_iter().rev() {
            if lines.len() >= count {
                break;
            }
            let Some(mut file) = open_finished(files, number)? else { break };
            let room = count - lines.len();
            let (mut earlier, mut line) = (VecDeque::new(), Vec::new());
            while file.read_line(&mut line)? == LineRead::Whole {
                keep_last(&mut earlier, std::mem::take(&mut line), room);
            }
            earlier.append(&mut lines);
            lines = earlier;
        }
        Ok((lines.into(), tail))
    }

    /// Reads on behind this finished file, or from the oldest one.
    pub(crate) const fn behind(files: &'a AuditFiles, passed: Option<u64>) -> Self {
        let walk = Walk::behind(files, passed);
        Self { walk, file: None, behind: None, begun: Vec::new() }
    }

    /// The next whole line; nothing while there is none.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let Some(file) = &mut self.file else {
                self.file = self.walk.next_file()?;
                if self.file.is_none() {
                    return Ok(None);
                }
                continue;
            };
            if file.read_line(&mut self.begun)? == LineRead::Whole {
                return Ok(Some(std::mem::take(&mut self.begun)));
            }
            if self.behind.is_some() {
                // It was finished before this last look: nothing more comes.
                self.file = self.behind.take();
                self.begun.clear();
                continue;
            }
            self.behind = self.walk.file_behind(file)?;
            if self.behind.is_none() {
                return Ok(None);
            }
        }
    }
}

fn keep_last(lines: &mut VecDeque<Vec<u8>>, line: Vec<u8>, count: usize) {
    lines.push_back(line);
    if lines.len() > count {
        lines.pop_front();
    }
}

//! What lies among the files of a node and is none of them: whatever holds what was destroyed, the
//! erasure is not done before it is gone; whatever does not, holds nothing up.
//!
//! No file of the node's own is judged so: those go by themselves, and hold more than can be found
//! by the ends of messages. Where nothing is known to look for ([`tables::erased_marks`]) nobody
//! can say, and the operator is told so.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Cut, Eraser};
use crate::replica::erasure::Due;
use crate::state::tables;
use crate::store::{FileReport, FileSearch, Finding};

/// Those that hold an erasure up are looked into so often at least, should they have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The strays that hold an erasure up.
#[derive(Default)]
pub(super) struct Strays {
    generation: u64,
    holding: Vec<String>,
    look_again: Option<Instant>,
}

impl Eraser {
    /// Whether strays that were looked into a moment ago are still there.
    pub(super) fn is_held_up(&self, due: &Due, strays: &Strays) -> bool {
        let is_there = |path: &String| self.root.join(path).symlink_metadata().is_ok();
        strays.generation == due.generation
            && strays.look_again.is_some_and(|again| Instant::now() < again)
            && strays.holding.iter().all(is_there)
    }

    /// Looks into all strays for what is due, and says whether they hold it up.
    pub(super) async fn search_strays(&self, due: &Due, strays: &mut Strays) -> Result<bool, Cut> {
        let marks = self.state.read(|view| {
            // Of what came since, too: the ring is this view's.
            tables::erased_marks(view, due.done, tables::erasures(view)?)
        });
        let marks = marks.and_then(std::convert::identity);
        let marks = marks.inspect_err(|error| self.faults.report(error))?;
        let (unknown, search) = (marks.unknown, FileSearch::of_strays(&self.root, &marks.known));
        // Whoever waits for it may be stopped.
        let ended = CancellationToken::new();
        let _ended = ended.clone().drop_guard();
        let searching = self.blocking.run(move || Ok(search.run(&|| !ended.is_cancelled())));
        let reports = searching.await.inspect_err(|error| self.faults.report(error))?;
        let reports = reports.ok_or(Cut::Again)?;
        if unknown > 0 && !reports.is_empty() {
            let files = list(reports.iter());
            tracing::warn!(
                files,
                unknown,
                "none of this node's files, and nothing is known to look for of deleted secrets"
            );
        }
        let holding = reports.iter().filter(|report| report.finding != Finding::Clean);
        let holding: Vec<String> = holding.map(|report| report.path.clone()).collect();
        if !holding.is_empty() && holding != strays.holding {
            let files = list(reports.iter().filter(|report| report.finding != Finding::Clean));
            tracing::warn!(
                files,
                "none of this node's files, and they keep the purge pending until they are removed"
            );
        }
        let holds_up = !holding.is_empty();
        let again = Instant::now() + LOOK_AGAIN.min(self.purge_within / 2);
        *strays =
            Strays { generation: due.generation, holding, look_again: holds_up.then_some(again) };
        Ok(holds_up)
    }
}

fn list<'a>(reports: impl Iterator<Item = &'a FileReport>) -> String {
    reports.map(|report| report.path.as_str()).collect::<Vec<_>>().join(", ")
}

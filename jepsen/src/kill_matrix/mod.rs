//! The kill matrix: which law sees which seeded bug, after how many seconds, under which faults
//! (`verification §3.9`).
//!
//! Owns the order of it: controls without a bug, one for each set of faults, then each mutant under
//! growing seeds until a law is violated or its time is over. Promises that only a law that is
//! expected of it kills a mutant, never a harness that failed, and that the matrix on the disk is
//! up to date after each of them. Knows neither how a run works nor what makes an answer right:
//! each run is a process of its own, and its verdict is read from its record.

mod disguise;
mod focus;
mod listing;
mod markdown;
mod matrix;
mod sighting;
mod trial;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::Programs;
use crate::moment::now;
use disguise::Disguise;
use focus::Focus;
use listing::{Listed, Listing};
use matrix::{Fate, Matrix, Row};
use trial::{Ended, Trial};

/// Beside a matrix in which every mutant has its row.
const WHOLE_FILE: &str = "whole";
/// What a matrix that is not whole is not taken for.
const ENDED: &str = "ended before the matrix was whole; the next run goes on from here";

/// Which mutants are tried, and how hard.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Directory of the programs `lockbox` and `kms-sim`, built with seeded bugs.
    #[arg(long, value_name = "DIR", env = "LOCKBOX_BIN")]
    bin: PathBuf,
    /// Where the matrix and the records of the runs go. Mutants that the same programs' matrix
    /// there calls killed are not run again.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Tries these mutants alone.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// A mutant that no law has seen after this long has survived.
    #[arg(long, value_name = "N", default_value_t = 6)]
    minutes_each: u64,
    /// The first seed; each further run of a mutant takes the next one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Below this the servers keep their files while a run lasts.
    #[arg(long, value_name = "DIR", default_value = "/tmp/lockbox-jepsen")]
    scratch: PathBuf,
}

/// Fills the matrix. Whether every mutant whose feature exists was killed, and no law cried out
/// over the programs as they should be.
///
/// # Errors
/// What kept it from being filled, the operator's wish to end among it.
pub fn run(settings: &Settings) -> Result<bool> {
    let session = Session::begin(settings)?;
    let mut matrix = session.matrix()?;
    let chosen = session.chosen()?;
    let seed = settings.seed;
    for focus in Focus::all(chosen.iter().map(|listed| listed.name.as_str())) {
        if matrix.has_control(focus.name()) {
            continue;
        }
        let Some(ended) = session.attempt(None, focus, seed, 0)? else { bail!(ENDED) };
        session.say(&format!("control {}, seed {seed}: {}", focus.name(), ended.summary()))?;
        matrix.control.push(ended.as_control(focus.name(), seed));
        session.write(&matrix)?;
    }
    for listed in chosen {
        if matrix.is_killed(&listed.name) {
            continue;
        }
        let Some(row) = session.hunt(listed)? else { bail!(ENDED) };
        session.say(&row.to_string())?;
        matrix.take(row);
        session.write(&matrix)?;
    }
    session.say(&markdown::write(&matrix))?;
    if settings.only.is_empty() {
        session.mark_whole()?;
    }
    Ok(matrix.is_complete())
}

/// What stays the same from mutant to mutant.
struct Session<'a> {
    settings: &'a Settings,
    programs: Programs,
    listing: Listing,
    out: PathBuf,
}

impl<'a> Session<'a> {
    fn begin(settings: &'a Settings) -> Result<Self> {
        let programs = Programs::in_directory(&settings.bin)?;
        let listing = Listing::ask(&programs)?;
        std::fs::create_dir_all(&settings.out)
            .with_context(|| settings.out.display().to_string())?;
        let out = settings.out.canonicalize()?;
        match std::fs::remove_file(out.join(WHOLE_FILE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(naming(&out));
            }
            Ok(()) | Err(_) => {}
        }
        Ok(Self { settings, programs, listing, out })
    }

    /// The matrix that these programs have filled so far, or an empty one.
    fn matrix(&self) -> Result<Matrix> {
        let seeded = self.listing.seeded().map(|listed| listed.name.clone()).collect();
        let fresh = Matrix::new(&self.programs, seeded, self.listing.waiting())?;
        Ok(Matrix::read(&self.out)?.filter(|old| old.is_of_the_same(&fresh)).unwrap_or(fresh))
    }

    fn write(&self, matrix: &Matrix) -> Result<()> {
        matrix.write(&self.out)?;
        let path = self.out.join("matrix.md");
        std::fs::write(&path, markdown::write(matrix)).with_context(|| path.display().to_string())
    }

    /// Says that every mutant has had its runs.
    fn mark_whole(&self) -> Result<()> {
        let path = self.out.join(WHOLE_FILE);
        std::fs::write(&path, "").with_context(naming(&path))
    }

    fn chosen(&self) -> Result<Vec<&Listed>> {
        let only = &self.settings.only;
        for name in only {
            ensure!(self.listing.find(name).is_some(), "there is no mutant {name:?} to run");
        }
        let fits = |listed: &&Listed| only.is_empty() || only.contains(&listed.name);
        Ok(self.listing.seeded().filter(fits).collect())
    }

    /// Runs a mutant until it is seen or has had its time. None when the operator wants an end.
    fn hunt(&self, listed: &Listed) -> Result<Option<Row>> {
        let began = now();
        let patience = Duration::from_secs(self.settings.minutes_each * 60);
        let (mut last, mut other) = (String::new(), None);
        let mut attempts = 0;
        while attempts == 0 || began.elapsed() < patience {
            let seed = self.settings.seed + attempts;
            let focus = Focus::of(&listed.name, attempts);
            let Some(ended) = self.attempt(Some(listed), focus, seed, attempts)? else {
                return Ok(None);
            };
            attempts += 1;
            self.say(&format!("{}, seed {seed}: {}", listed.name, ended.summary()))?;
            last = ended.summary();
            let Some(sighting) = ended.sighting(&listed.laws) else { continue };
            let is_expected = sighting.is_by_one_of(&listed.laws);
            let fate = Fate::Killed { sighting, seed, attempts, wall_seconds: seconds(began) };
            if is_expected {
                return Ok(Some(Row::new(listed, fate)));
            }
            // Perhaps it is seen for what it is, too.
            other = other.or(Some(fate));
        }
        let survived = Fate::Survived { attempts, wall_seconds: seconds(began), last };
        Ok(Some(Row::new(listed, other.unwrap_or(survived))))
    }

    fn attempt(
        &self,
        listed: Option<&Listed>,
        focus: Focus,
        seed: u64,
        attempt: u64,
    ) -> Result<Option<Ended>> {
        let name = listed.map_or("control", |listed| listed.name.as_str());
        let kind = focus.name();
        let directory = self.out.join("runs").join(format!("{name}-{kind}-{seed}"));
        let disguise = Disguise::make(&directory, &self.programs, listed, &focus)?;
        let plan = focus.plan(seed, attempt);
        Trial::new(&directory, disguise, &self.settings.scratch).run(&plan)
    }

    fn say(&self, text: &str) -> Result<()> {
        let mut output = std::io::stdout().lock();
        writeln!(output, "{}", text.trim_end()).context("cannot write the output")?;
        output.flush().context("cannot write the output")
    }
}

fn seconds(since: Instant) -> u64 {
    since.elapsed().as_secs()
}

/// Names a path in an error.
fn naming(path: &Path) -> impl FnOnce() -> String + '_ {
    || path.display().to_string()
}

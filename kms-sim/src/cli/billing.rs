//! The `billing` commands. They open the data for reading only, also beside a running server.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use lockbox_core::{Clock, LogTime};
use lockbox_platform::audit::{AuditFiles, Extent};
use lockbox_platform::billing::{Prices, Span};
use lockbox_platform::exit::ExitCode;
use lockbox_platform::system::SystemClock;

use super::{Failure, environment};
use crate::backup::shown;
use crate::config::KmsConfig;
use crate::engine::db_directory;
use crate::ledger::audited::{self, Audited, CompareError};
use crate::ledger::listing::{self, ListingError};
use crate::ledger::print::{self, Format};
use crate::ledger::report::{first_hour, report};
use crate::ledger::span_check::verify_span;
use crate::ledger::verify::{Problem, read_all, verify};
use crate::store::identity::Restores;
use crate::store::{Db, StoreError};

#[derive(Debug, Subcommand)]
pub(super) enum Billing {
    /// Prints what was used, by whom, and what it costs.
    Report {
        #[command(flatten)]
        data: Data,
        /// Begin: a date or an RFC 3339 time; the whole hour counts. Default: the first record.
        #[arg(long, value_parser = parse_time)]
        from: Option<LogTime>,
        /// End: likewise. Default: now.
        #[arg(long, value_parser = parse_time)]
        to: Option<LogTime>,
        /// How it is printed.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        /// A TOML file with `currency` and a table `prices` of decimal texts by meter.
        #[arg(long)]
        prices: Option<PathBuf>,
    },
    /// Recomputes every counter from the ledger and compares; compares its end with the audit.
    Verify {
        #[command(flatten)]
        data: Data,
    },
    /// Prints every record of the ledger, one JSON object a line.
    Records {
        #[command(flatten)]
        data: Data,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Data {
    /// The data directory, with the audit in it.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The configuration file that names it.
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Differences of a bill that are told one by one.
const DIFFERENCES_MAX: usize = 20;

/// Where the records are.
struct Place {
    directory: PathBuf,
    audit: AuditFiles,
}

pub(super) fn run(command: Billing) -> Result<(), Failure> {
    match command {
        Billing::Report { data, from, to, format, prices } => {
            let prices = prices.map(|path| Prices::load(&path)).transpose();
            let prices = prices.map_err(Failure::usage)?;
            if let (Some(from), Some(to)) = (from, to)
                && to < from
            {
                return Err(Failure::usage("--to is before --from"));
            }
            let now = LogTime::from_ms(SystemClock::new().wall_ms());
            let db = place(&data)?.open()?;
            let view = db.view();
            let mut span = Span::covering(from.unwrap_or_default(), to.unwrap_or(now));
            if from.is_none() {
                let first = first_hour(&view).map_err(damaged)?;
                span.from_hour = first.unwrap_or(span.to_hour).min(span.to_hour);
            }
            refuse_wrong(&verify_span(&view, span).map_err(damaged)?)?;
            let bill = report(&view, span, now, prices.as_ref()).map_err(damaged)?;
            print::print(&bill, format, &mut io::stdout().lock())
                .map_err(|error| Failure::output(&error))
        }
        Billing::Verify { data } => check(&place(&data)?),
        Billing::Records { data } => {
            let db = place(&data)?.open()?;
            let mut output = io::BufWriter::new(io::stdout().lock());
            listing::list(&db.view(), &mut output).map_err(|error| match error {
                ListingError::Store(error) => damaged(error),
                ListingError::Output(error) => Failure::output(&error),
            })
        }
    }
}

/// No bill of counters that the ledger does not give.
fn refuse_wrong(problems: &[Problem]) -> Result<(), Failure> {
    if problems.is_empty() {
        return Ok(());
    }
    let mut output = io::stderr().lock();
    for problem in problems.iter().take(DIFFERENCES_MAX) {
        // Nobody is left to tell when standard error is closed.
        writeln!(output, "{problem}").ok();
    }
    let count = problems.len();
    let sentence = format!("there is no bill: {count} of its counters or records are wrong");
    Err(Failure::new(ExitCode::CorruptLog, sentence))
}

fn check(place: &Place) -> Result<(), Failure> {
    // ORDER: what the audit has by now, the ledger has once it is opened.
    let active = place.audit.active();
    let extent = Extent::now(&place.audit);
    let db = place.open()?;
    let view = db.view();
    read_all(&view).map_err(damaged)?;
    let result = verify(&view).map_err(damaged)?;
    let restores = Restores::read(&view).map_err(damaged)?;
    let has_audit = !matches!(extent, Ok(None));
    // What the ledger itself says is told whatever becomes of the audit.
    let audited = match extent {
        Ok(None) => Audited::default(),
        Ok(Some(extent)) => audited::compare(&view, extent).map_err(damaged)?,
        Err(source) => {
            let unread = CompareError::Audit { path: active.to_owned(), source };
            Audited::of_none(unread.to_string())
        }
    };
    let unread = audited.unread.as_deref();
    let mut output = io::stdout().lock();
    let mut print = |line: &dyn std::fmt::Display| {
        writeln!(output, "{line}").map_err(|error| Failure::output(&error))
    };
    let problems = result.problems.iter().chain(&audited.problems);
    problems.into_iter().try_for_each(|problem| print(problem))?;
    let problems = result.problems.len() as u64 + audited.problem_count();
    let (records, counters, calls) = (result.records, result.counters.len(), audited.calls);
    print(&format_args!(
        "{records} records, {counters} counters, {calls} audited calls, {problems} problems"
    ))?;
    for restore in &restores.restores {
        let (made, from, to) = (shown(restore.backed_up_at), restore.from, restore.to);
        print(&format_args!(
            "restored from a backup of {made}: commits between {from} and {to} are not here"
        ))?;
    }
    if audited.restored > 0 {
        let calls = audited.restored;
        print(&format_args!("{calls} audited calls are of commits that no restore brought back"))?;
    }
    if !has_audit {
        print(&format_args!(
            "there is no audit in {}: a cut at the ledger's end would not show",
            active.display()
        ))?;
    }
    if has_audit && unread.is_none() && audited.unnamed > 0 {
        print(&format_args!(
            "the newest {} records are named by no call of the audit: a cut at the ledger's end would \
             not show",
            audited.unnamed
        ))?;
    }
    match unread {
        Some(unread) if problems == 0 => return Err(Failure::new(ExitCode::Storage, unread)),
        Some(unread) => print(&unread)?,
        None if problems == 0 => return Ok(()),
        None => {}
    }
    let sentence = "the ledger, its counters and the audit do not agree";
    Err(Failure::new(ExitCode::CorruptLog, sentence))
}

fn place(data: &Data) -> Result<Place, Failure> {
    match (&data.data, &data.config) {
        (Some(directory), _) => {
            Ok(Place { directory: directory.clone(), audit: AuditFiles::at(directory) })
        }
        (None, Some(config)) => {
            let config = KmsConfig::load(config, &environment().0).map_err(Failure::usage)?;
            let audit = AuditFiles::of(&config.audit_path());
            Ok(Place { directory: config.data_dir, audit })
        }
        (None, None) => Err(Failure::usage("--data or --config is needed")),
    }
}

impl Place {
    fn open(&self) -> Result<Db, Failure> {
        Db::open_read_only(&db_directory(&self.directory))
            .map_err(|error| Failure::new(ExitCode::Storage, error))
    }
}

fn damaged(error: StoreError) -> Failure {
    let code = match error {
        StoreError::Damaged { .. } => ExitCode::CorruptLog,
        StoreError::Newer { .. } => ExitCode::IdentityMismatch,
        StoreError::InUse { .. }
        | StoreError::Missing { .. }
        | StoreError::Unsettled { .. }
        | StoreError::Open { .. }
        | StoreError::Write(_)
        | StoreError::DiskFull(_)
        | StoreError::Read(_) => ExitCode::Storage,
    };
    Failure::new(code, error)
}

/// Reads an RFC 3339 time, or a date as its beginning in UTC.
fn parse_time(text: &str) -> Result<LogTime, String> {
    let at = match text.parse::<jiff::Timestamp>() {
        Ok(at) => at,
        Err(_) => {
            let date: Date =
                text.parse().map_err(|_| "is no date like 2026-11-24 and no RFC 3339 time")?;
            date.to_zoned(TimeZone::UTC).map_err(|error| error.to_string())?.timestamp()
        }
    };
    let ms = u64::try_from(at.as_millisecond()).map_err(|_| "is before 1970")?;
    Ok(LogTime::from_ms(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_or_rfc_3339() {
        assert_eq!(parse_time("1970-01-02"), Ok(LogTime::from_ms(86_400_000)));
        assert_eq!(parse_time("1970-01-01T01:00:00+01:00"), Ok(LogTime::from_ms(0)));
        assert_eq!(parse_time("1970-01-01T00:00:01Z"), Ok(LogTime::from_ms(1000)));
        assert!(parse_time("yesterday").is_err());
        assert!(parse_time("1969-12-31").is_err());
    }
}

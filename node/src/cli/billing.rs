//! `lockbox billing`: what is billed of the service itself, and what it costs.
//!
//! The cluster tells what was used; prices are known here alone.

mod print;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lockbox_core::LogTime;
use lockbox_platform::audit::search::parse_time;
use lockbox_platform::billing::{HOUR_MS, Meter, Prices, Reading, Span};
use lockbox_proto::lockbox::cluster::v1 as wire;
use wire::admin_service_client::AdminServiceClient;

use self::print::BillFormat;
use crate::cli::environment::Environment;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Format};
use crate::cli::peer::{PeerReach, PeerTarget};

/// `lockbox billing`.
#[derive(Debug, Args)]
pub(crate) struct BillingArgs {
    #[command(subcommand)]
    command: BillingCommand,
}

#[derive(Debug, Subcommand)]
enum BillingCommand {
    /// Prints what was stored and read, by cloud, and what it costs.
    ///
    /// Any node tells the same. Reads of the last seconds may be missing.
    Report(Box<ReportArgs>),
}

/// `lockbox billing report`.
#[derive(Debug, Args)]
struct ReportArgs {
    /// Begin: a date, or an RFC 3339 time; the whole hour counts. The cluster's first hour when not
    /// given.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<LogTime>,
    /// End: likewise. Now when not given.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<LogTime>,
    /// How the bill is printed.
    #[arg(long, value_enum, default_value_t = BillFormat::Table)]
    format: BillFormat,
    /// A TOML file with `currency` and a table `prices` of decimal texts by meter.
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    #[command(flatten)]
    peer: PeerReach,
}

/// The bill.
struct Bill {
    span: Span,
    /// What each cloud used.
    clouds: Vec<wire::CloudUsage>,
    /// The sums.
    meters: Vec<Reading>,
    /// Of the amounts; none without a price list.
    currency: Option<String>,
}

/// Runs `lockbox billing`.
pub(crate) fn run(arguments: BillingArgs, environment: &Environment) -> Result<(), Failure> {
    match arguments.command {
        BillingCommand::Report(report) => report.run(environment),
    }
}

impl ReportArgs {
    fn run(&self, environment: &Environment) -> Result<(), Failure> {
        let prices = self.prices.as_deref().map(Prices::load).transpose();
        let prices = prices.map_err(Failure::usage)?;
        if let (Some(from), Some(to)) = (self.from, self.to)
            && to < from
        {
            return Err(Failure::usage("--to is before --from"));
        }
        let target = self.peer.resolve(environment, Format::Text)?;
        let (span, clouds) = used(&target, self.from, self.to)?;
        let mut text = Vec::new();
        let bill = Bill::of(span, clouds, prices.as_ref());
        let printed = print::print(&bill, self.format, &mut text);
        printed.map_err(|error| Failure::usage(format_args!("cannot print the bill: {error}")))?;
        output::write(&text)
    }
}

/// What all clouds used, and in which hours.
fn used(
    target: &PeerTarget<'_>,
    from: Option<LogTime>,
    to: Option<LogTime>,
) -> Result<(Span, Vec<wire::CloudUsage>), Failure> {
    let ms = |at: Option<LogTime>| at.map_or(0, |at| at.as_ms());
    let (from_ms, to_ms) = (ms(from), ms(to));
    let mut request = wire::ReadUsageRequest { from_ms, to_ms, after_cloud_id: String::new() };
    let mut clouds = Vec::new();
    loop {
        let page = target.ask(&request, async |channel, request| {
            AdminServiceClient::new(channel).read_usage(request).await
        })?;
        let more = page.more && !page.clouds.is_empty();
        clouds.extend(page.clouds);
        if !more {
            let span = Span { from_hour: page.from_ms / HOUR_MS, to_hour: page.to_ms / HOUR_MS };
            return Ok((span, clouds));
        }
        // The next page is of the same hours.
        (request.from_ms, request.to_ms) = (page.from_ms, page.to_ms);
        request.after_cloud_id = clouds.last().map(|of| of.cloud_id.clone()).unwrap_or_default();
    }
}

impl Bill {
    fn of(span: Span, clouds: Vec<wire::CloudUsage>, prices: Option<&Prices>) -> Self {
        let sum = |of: fn(&wire::CloudUsage) -> u64| -> u128 {
            clouds.iter().map(|cloud| u128::from(of(cloud))).sum()
        };
        let meters = vec![
            Reading::of(Meter::Versions, sum(|cloud| cloud.version_ms), prices),
            Reading::of(Meter::Reads, sum(|cloud| cloud.payload_reads), prices),
        ];
        Self { span, clouds, meters, currency: prices.map(|prices| prices.currency.clone()) }
    }
}

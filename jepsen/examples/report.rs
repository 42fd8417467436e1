//! Writes the report of a made-up run, to look at: `cargo run --example report -- DIR`, with
//! `valid` as second argument for one without violations, and a number of operations as third.

#[path = "../tests/it/report/synthetic.rs"]
mod synthetic;
#[path = "../tests/it/report/synthetic_cluster.rs"]
mod synthetic_cluster;
#[path = "../tests/it/report/synthetic_findings.rs"]
mod synthetic_findings;
#[path = "../tests/it/report/synthetic_ops.rs"]
mod synthetic_ops;

use std::io::Write;
use std::path::Path;

use synthetic::{Run, Wish};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let directory = arguments.first().ok_or("which directory?")?;
    let broken = arguments.get(1).is_none_or(|word| word != "valid");
    let ops = arguments.get(2).map_or(Ok(60_000), |number| number.parse())?;
    let run = Run::make(Wish { seed: 7, ops, broken });
    let page = lockbox_jepsen::report::write(&run.input(), Path::new(directory))?;
    writeln!(std::io::stdout().lock(), "{} operations: {}", run.history.ops.len(), page.display())?;
    Ok(())
}

//! The checklist of `contract §14`, item by item, from outside: against one process (`lockbox dev`)
//! and against three with a follower as the target, each over gRPC and over REST.
//!
//! An item is one function over an [`api::Api`]; what it asks is JSON, and how that travels is the
//! target's business. So every item is four tests, named `<target>::<transport>::<item>`.

// Tests of this kind are not built as tests, so that clippy does not know them for some.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed test is what comes of it")]

use std::process::ExitCode;

mod api;
#[path = "../processes/cluster.rs"]
#[allow(dead_code, reason = "shared with the tests of processes, which use all of it")]
mod cluster;
#[path = "../processes/http1.rs"]
#[allow(dead_code, reason = "as above")]
mod http1;
mod items;
#[path = "../processes/ports.rs"]
#[allow(dead_code, reason = "as above")]
mod ports;
#[path = "../processes/programs.rs"]
#[allow(dead_code, reason = "as above")]
mod programs;
#[path = "../shared/raw.rs"]
mod raw;
#[path = "../processes/server.rs"]
#[allow(dead_code, reason = "as above")]
mod server;
mod target;
mod transport;
#[path = "../processes/waiting.rs"]
#[allow(dead_code, reason = "as above")]
mod waiting;

use libtest_mimic::{Arguments, Trial};

use self::api::Api;
use self::items::ITEMS;
use self::target::{Kind, Targets};
use self::transport::Transport;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let targets = Targets::new();
    let mut trials = Vec::new();
    for kind in Kind::ALL {
        for transport in Transport::ALL {
            for (name, item) in ITEMS {
                let name = format!("{}::{}::{name}", kind.name(), transport.name());
                let targets = targets.clone();
                trials.push(Trial::test(name, move || {
                    let target = targets.get(kind);
                    targets.block_on(item(Api::new(target, transport)));
                    Ok(())
                }));
            }
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // ORDER: processes end and directories go before the verdict is told.
    targets.stop();
    if conclusion.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

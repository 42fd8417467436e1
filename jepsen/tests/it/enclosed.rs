//! Runs a test inside an enclosure of its own: namespaces that end with it.

use std::process::Command;
use std::sync::OnceLock;

use lockbox_jepsen::cluster::enclosure;
use lockbox_jepsen::doctor::{Report, examine};
use lockbox_jepsen::plan::Profile;

/// What this machine can do; looked at once.
static MACHINE: OnceLock<Report> = OnceLock::new();

/// Whether this machine can; says what it lacks.
pub(crate) fn is_possible() -> bool {
    let machine = MACHINE.get_or_init(|| examine(None));
    let is_possible = machine.profile == Profile::Smoke;
    if !is_possible {
        println!("left out, for this machine lacks something:\n{machine}");
    }
    is_possible
}

/// Runs the body inside, as the only test of a process of its own. The test that calls this is
/// known by the name of its thread.
pub(crate) fn enclosed(body: impl FnOnce()) {
    if enclosure::is_inside() {
        enclosure::prepare().unwrap();
        return body();
    }
    if !is_possible() {
        return;
    }
    let name = std::thread::current().name().unwrap().to_owned();
    let arguments = [&name, "--exact", "--nocapture", "--test-threads=1"];
    let command: Command = enclosure::command(arguments.map(Into::into)).unwrap();
    let status = enclosure::supervise(command).unwrap();
    assert!(status.success(), "{name} failed inside: {status}");
}

//! Runs a test inside an enclosure of its own: namespaces that end with it.

use std::process::Command;

use lockbox_jepsen::cluster::enclosure;

/// Runs the body inside, as the only test of a process of its own. The test that calls this is
/// known by the name of its thread.
pub(crate) fn enclosed(body: impl FnOnce()) {
    if enclosure::is_inside() {
        enclosure::prepare().unwrap();
        return body();
    }
    if !rustix::process::geteuid().is_root() {
        println!("left out: only root can make namespaces");
        return;
    }
    let name = std::thread::current().name().unwrap().to_owned();
    let arguments = [&name, "--exact", "--nocapture", "--test-threads=1"];
    let command: Command = enclosure::command(arguments.map(Into::into)).unwrap();
    let status = enclosure::supervise(command).unwrap();
    assert!(status.success(), "{name} failed inside: {status}");
}

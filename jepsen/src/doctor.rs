//! What this machine can do, and which faults will be left out, with reasons.
//!
//! Tries each thing in namespaces of its own and changes nothing of the machine.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::cluster::Programs;
use crate::cluster::admin::knows;
use crate::cluster::backups::makes_backups;
use crate::cluster::program::{exists, run};
use crate::nemesis::class::FaultClass;
use crate::plan::Profile;

/// The first findings: without one of them there is no enclosure.
const ENCLOSURE: usize = 4;

/// What the machine has, and who needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked for.
    pub what: &'static str,
    /// Whether it is there.
    pub is_there: bool,
    /// How it was tried, or why it is not there.
    pub detail: String,
    /// The classes that are left out without it.
    pub needed_by: Vec<FaultClass>,
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One by one.
    pub findings: Vec<Finding>,
    /// The profile that this machine can run for each change.
    pub profile: Profile,
}

impl Report {
    /// The classes that will be left out, and for want of what.
    #[must_use]
    pub fn left_out(&self) -> Vec<(FaultClass, &'static str)> {
        let missing = self.findings.iter().filter(|finding| !finding.is_there);
        let mut classes: Vec<_> = missing
            .flat_map(|finding| finding.needed_by.iter().map(|class| (*class, finding.what)))
            .collect();
        classes.sort_unstable();
        classes.dedup_by_key(|(class, _)| *class);
        classes
    }

    /// Whether every class of faults is possible.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.left_out().is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { what, is_there, detail, .. } in &self.findings {
            writeln!(out, "{} {what}: {detail}", if *is_there { "yes" } else { " no" })?;
        }
        for (class, what) in self.left_out() {
            writeln!(out, "left out: {class}, for want of: {what}")?;
        }
        let profile = match self.profile {
            Profile::Smoke | Profile::Soak | Profile::Mutants => "smoke",
            Profile::SmokeBasic | Profile::Bill => "smoke-basic",
        };
        writeln!(out, "profile: {profile}")
    }
}

/// Looks at the machine, and at the programs if there are some.
#[must_use]
pub fn examine(programs: Option<&Programs>) -> Report {
    let preloaded = [FaultClass::ClockStep, FaultClass::SyncFault, FaultClass::PowerLoss];
    let basic = Profile::SmokeBasic.classes();
    let enclosed = FaultClass::ALL.into_iter().filter(|class| !basic.contains(class));
    let enclosed: Vec<_> = enclosed.collect();
    let mut findings = vec![
        root(&enclosed),
        namespaces(&enclosed),
        tried("TUN devices", &enclosed, &["ip", "tuntap", "add", "dev", "tun0", "mode", "tun"]),
        tried("mounted disks (tmpfs)", &enclosed, &["mount", "-t", "tmpfs", "none", "/mnt"]),
        tried("packet filter (nft)", &[], &["nft", "list", "ruleset"]),
        compiler(&preloaded),
        file("FUSE (no class uses it)", "/dev/fuse"),
        file("freezer (SIGSTOP is used)", "/sys/fs/cgroup/freezer"),
        file("libfaketime (own library is used)", "/usr/lib/x86_64-linux-gnu/faketime"),
    ];
    findings.extend(programs.map(commands).into_iter().flatten());
    let can_enclose = findings.iter().take(ENCLOSURE).all(|finding| finding.is_there);
    let profile = if can_enclose { Profile::Smoke } else { Profile::SmokeBasic };
    Report { findings, profile }
}

fn root(needed_by: &[FaultClass]) -> Finding {
    let is_there = rustix::process::geteuid().is_root();
    let detail = if is_there { "this is root" } else { "run it as root" }.to_owned();
    Finding { what: "root", is_there, detail, needed_by: needed_by.to_vec() }
}

fn namespaces(needed_by: &[FaultClass]) -> Finding {
    tried("namespaces of a run's own", needed_by, &["setpriv", "--pdeathsig", "KILL", "true"])
}

/// Runs a program in namespaces that end with it.
fn tried(what: &'static str, needed_by: &[FaultClass], command: &[&str]) -> Finding {
    let enclosure = ["--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc", "--"];
    let result = run("unshare", [&enclosure, command].concat());
    let (is_there, detail) = match result {
        Ok(_) => (true, command.join(" ")),
        Err(error) => (false, format!("{error:#}")),
    };
    Finding { what, is_there, detail, needed_by: needed_by.to_vec() }
}

fn compiler(needed_by: &[FaultClass]) -> Finding {
    let is_there = exists("cc");
    let detail = if is_there { "cc" } else { "there is no cc: install gcc" }.to_owned();
    Finding { what: "C compiler", is_there, detail, needed_by: needed_by.to_vec() }
}

fn file(what: &'static str, path: &str) -> Finding {
    let is_there = Path::new(path).exists();
    Finding { what, is_there, detail: path.to_owned(), needed_by: Vec::new() }
}

/// The operator's commands that faults call.
fn commands(programs: &Programs) -> Vec<Finding> {
    let member = [FaultClass::Membership];
    let asked: [(&'static str, &str, &[FaultClass]); 6] = [
        ("lockbox cluster add", "add", &member),
        ("lockbox cluster promote", "promote", &member),
        ("lockbox cluster remove", "remove", &member),
        ("lockbox cluster replace", "replace", &member),
        ("lockbox cluster transfer-leader", "transfer-leader", &[FaultClass::TransferStorm]),
        ("lockbox cluster snapshot", "snapshot", &[FaultClass::SnapshotStorm]),
    ];
    let finding = |(what, name, needed_by): (&'static str, &str, &[FaultClass])| Finding {
        what,
        is_there: knows(&programs.lockbox, name),
        detail: programs.lockbox.display().to_string(),
        needed_by: needed_by.to_vec(),
    };
    let backup = Finding {
        what: "lockbox admin backup",
        is_there: makes_backups(&programs.lockbox),
        detail: programs.lockbox.display().to_string(),
        needed_by: vec![FaultClass::Restore],
    };
    asked.into_iter().map(finding).chain([backup]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(what: &'static str, is_there: bool, needed_by: &[FaultClass]) -> Finding {
        Finding { what, is_there, detail: "tried".to_owned(), needed_by: needed_by.to_vec() }
    }

    #[test]
    fn what_is_left_out_is_said_with_its_reason() {
        let both = [FaultClass::Partition, FaultClass::SlowLink];
        let report = Report {
            findings: vec![
                finding("root", true, &both),
                finding("TUN devices", false, &both),
                finding("FUSE", false, &[]),
            ],
            profile: Profile::SmokeBasic,
        };
        let expected = "yes root: tried\n no TUN devices: tried\n no FUSE: tried\n\
                        left out: partition, for want of: TUN devices\n\
                        left out: slow_link, for want of: TUN devices\n\
                        profile: smoke-basic\n";
        assert_eq!(report.to_string(), expected);
        assert!(!report.is_complete());
    }

    #[test]
    fn a_machine_that_lacks_what_nobody_needs_is_complete() {
        let findings = vec![finding("FUSE", false, &[])];
        assert!(Report { findings, profile: Profile::Smoke }.is_complete());
    }
}

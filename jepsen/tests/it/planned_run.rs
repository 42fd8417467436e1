//! A whole run of a short plan: processes are killed and stopped, and nodes cut off, under load.

use lockbox_jepsen::check::directory::VERDICT_FILE;
use lockbox_jepsen::check::laws::{Finding, Law};
use lockbox_jepsen::check::verdict::Verdict;
use lockbox_jepsen::cluster::scratch::Scratch;
use lockbox_jepsen::history::event::Phase;
use lockbox_jepsen::history::fault::{Edge, FaultClass, FaultOutcome};
use lockbox_jepsen::nemesis::action::{Action, KmsTrouble, Means, Victims};
use lockbox_jepsen::nemesis::grudge::Grudge;
use lockbox_jepsen::plan::{Plan, PlannedFault, Profile};
use lockbox_jepsen::run::directory::RunDirectory;
use lockbox_jepsen::run::whole;

use crate::enclosed::enclosed;
use crate::programs::programs;

fn planned(number: u32, begin_ms: u64, length_ms: u64, action: Action) -> PlannedFault {
    PlannedFault { number, begin_ms, length_ms, action, lot: 5 }
}

/// Half a minute of it; what is left of the plan is drawn.
fn short(profile: Profile, faults: Vec<PlannedFault>) -> Plan {
    let mut plan = Plan::draw(1, profile);
    plan.phases.quiet_ms = 3_000;
    plan.phases.faults_ms = 20_000;
    Plan { faults, windows: Vec::new(), spares: 0, ..plan }
}

/// Runs it and gives the directory and the verdict. A law that is violated is told by the test.
fn run(plan: &Plan) -> (tempfile::TempDir, Verdict) {
    let base = tempfile::tempdir().unwrap();
    let out = base.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let scratch = Scratch::make(&base.path().join("scratch")).unwrap();
    whole::run(plan, &programs(), &out, scratch.path()).unwrap();
    let text = std::fs::read(out.join(VERDICT_FILE)).unwrap();
    let verdict: Verdict = serde_json::from_slice(&text).unwrap();
    (base, verdict)
}

/// No law is violated, the final phase is there, and these classes have taken effect. Whether so
/// short a run covers enough to be valid depends on the machine.
fn holds(base: &tempfile::TempDir, verdict: &Verdict, classes: &[FaultClass]) {
    let directory = RunDirectory::at(&base.path().join("out"));
    assert!(directory.report().exists() && directory.bill().exists());
    let history = directory.read_history().unwrap();
    assert!(history.failures.is_empty(), "{:?}", history.failures);
    assert!(history.phases.iter().any(|event| event.phase == Phase::Done));
    for report in &verdict.laws {
        let violated = matches!(report.finding, Finding::Violated { .. });
        // How much is answered after healing depends on what else this machine does.
        assert!(!violated || report.law == Law::L14, "{report:?}");
    }
    assert!(verdict.search.illegal.is_empty(), "{:?}", verdict.search.illegal);
    for class in classes {
        let installed = |event: &&lockbox_jepsen::history::fault::FaultEvent| {
            event.class == *class
                && event.edge == Edge::End
                && event.outcome == FaultOutcome::Installed
        };
        assert!(history.faults.iter().any(|event| installed(&event)), "{class:?}");
    }
}

#[test]
fn what_is_answered_under_faults_is_right() {
    enclosed(|| {
        let cut = Action::Partition { grudge: Grudge::LeaderAlone, means: Means::Switch };
        let faults = vec![
            planned(1, 4_000, 3_000, Action::Kill { who: Victims::Leader }),
            planned(2, 9_000, 3_000, Action::Pause { who: Victims::One }),
            planned(3, 14_000, 4_000, cut),
            planned(4, 15_000, 3_000, Action::Kms { trouble: KmsTrouble::Pause }),
        ];
        let (base, verdict) = run(&short(Profile::Mutants, faults));
        let classes =
            [FaultClass::Kill, FaultClass::Pause, FaultClass::Partition, FaultClass::KmsPause];
        holds(&base, &verdict, &classes);
    });
}

#[test]
fn without_root_a_run_kills_and_stops_processes_on_loopback() {
    let faults = vec![
        planned(1, 4_000, 3_000, Action::Kill { who: Victims::Leader }),
        planned(2, 9_000, 3_000, Action::Pause { who: Victims::Follower }),
        planned(3, 14_000, 3_000, Action::Kms { trouble: KmsTrouble::Kill }),
    ];
    let mut plan = short(Profile::SmokeBasic, faults);
    plan.knobs.purge_within_s = 10;
    let (base, verdict) = run(&plan);
    holds(&base, &verdict, &[FaultClass::Kill, FaultClass::Pause, FaultClass::KmsKilled]);
    // What was destroyed meanwhile was looked for on each node.
    let law = verdict.laws.iter().find(|report| report.law == Law::L12).unwrap();
    let (_, destroyed) = law.counts.iter().find(|(name, _)| name == "destroyed versions").unwrap();
    assert!(*destroyed > 0, "{:?}", law.counts);
}

#[test]
fn backups_of_a_run_become_clusters_with_the_state_of_their_index() {
    let faults = vec![
        planned(1, 4_000, 0, Action::Restore),
        planned(2, 6_000, 3_000, Action::Kill { who: Victims::Leader }),
        planned(3, 12_000, 0, Action::Restore),
        planned(4, 18_000, 0, Action::Restore),
    ];
    let mut plan = short(Profile::SmokeBasic, faults);
    // Longer than a run waits for what is destroyed.
    plan.knobs.purge_within_s = 600;
    let (base, verdict) = run(&plan);
    holds(&base, &verdict, &[FaultClass::Kill, FaultClass::Restore]);
    let law = verdict.laws.iter().find(|report| report.law == Law::L18).unwrap();
    assert_eq!(law.finding, Finding::Holds);
    let count = |what: &str| law.counts.iter().find(|(name, _)| name == what).unwrap().1;
    assert!(count("answers compared") > 100, "{:?}", law.counts);
    assert_eq!(count("restored clusters"), 2, "{:?}", law.counts);
    assert!(count("destroyed or deleted since") > 0, "{:?}", law.counts);
}

#[test]
fn a_bill_is_reconciled_under_kills_and_its_ledger_is_kept() {
    let faults = vec![
        planned(1, 4_000, 2_000, Action::Kill { who: Victims::Leader }),
        planned(2, 9_000, 2_000, Action::Kms { trouble: KmsTrouble::Kill }),
        planned(3, 14_000, 2_000, Action::Kill { who: Victims::One }),
    ];
    let (base, verdict) = run(&short(Profile::Bill, faults));
    holds(&base, &verdict, &[FaultClass::Kill, FaultClass::KmsKilled]);
    let law = verdict.laws.iter().find(|report| report.law == Law::L11).unwrap();
    assert_eq!(law.finding, Finding::Holds);
    let count = |what: &str| law.counts.iter().find(|(name, _)| name == what).unwrap().1;
    assert!(count("billed") > 100, "{:?}", law.counts);
    assert!(count("told by nodes") > count("billed") / 2, "{:?}", law.counts);
    let kept = RunDirectory::at(&base.path().join("out")).kms();
    let verified = std::process::Command::new(programs().kms_sim)
        .args(["billing", "verify", "--data"])
        .arg(&kept)
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let audits = RunDirectory::at(&base.path().join("out")).kept_audits();
    for node in ["1", "2", "3"] {
        let verified = std::process::Command::new(programs().lockbox)
            .args(["audit", "verify", "--node", node, "--heads"])
            .arg(audits.join("heads.json"))
            .arg(audits.join(format!("node-{node}")))
            .output()
            .unwrap();
        assert!(verified.status.success(), "{verified:?}");
    }
}

//! A whole run on real processes in which nothing is broken.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use lockbox_jepsen::check::coverage::Required;
use lockbox_jepsen::check::directory::{REQUIRED_FILE, check_directory};
use lockbox_jepsen::check::laws::Law;
use lockbox_jepsen::check::verdict::Judgement;
use lockbox_jepsen::history::call::Call;
use lockbox_jepsen::history::event::{Header, Phase};
use lockbox_jepsen::history::ids::NodeId;
use lockbox_jepsen::history::key_switch::{KeySwitch, SwitchStep};
use lockbox_jepsen::history::op::{Op, Outcome};
use lockbox_jepsen::history::recorder::Recorder;
use lockbox_jepsen::history::sample::RaftRole;
use lockbox_jepsen::moment;
use lockbox_jepsen::random::Random;
use lockbox_jepsen::run::conduct::{Collect, Durations, Score, conduct};
use lockbox_jepsen::run::directory::RunDirectory;
use lockbox_jepsen::run::{cluster_site, evidence, ledgers};
use lockbox_jepsen::workload::Mix;
use tokio_util::sync::CancellationToken;

use crate::cluster::small;
use crate::enclosed::enclosed;

/// How long the load runs, in seconds. `LOCKBOX_JEPSEN_SECONDS` makes it longer.
const SECONDS: u64 = 10;

#[test]
fn a_run_without_faults_is_whole() {
    enclosed(|| {
        let seconds = std::env::var("LOCKBOX_JEPSEN_SECONDS").ok();
        let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
        let small = small(false);
        let directory = tempfile::tempdir().unwrap();
        let directory = RunDirectory::make(&directory.path().join("run")).unwrap();
        let cluster = Arc::clone(&small.cluster);
        let site = cluster_site::of_cluster(&cluster).unwrap();
        let durations = Durations { quiet_s: seconds, faults_s: 0, heal_s: 0, recovery_s: 30 };
        // A node answers a repeat with the index of its look at the state, and the replay takes it
        // for that of the effect.
        let mix = Mix { keyed_percent: 0, ..Mix::draw(&mut Random::new(1)) };
        let score = Score { seed: 1, durations, mix, erased_within_s: None };
        let begin = moment::now();
        let ticks = Arc::new(move || {
            u64::try_from(moment::now().duration_since(begin).as_nanos()).unwrap()
        });
        let header = Header { format: 0, seed: 1, nodes: (site.members)(), started_at_ns: 0 };
        let file = File::create(directory.growing_history()).unwrap();
        let recorder = Arc::new(Recorder::start(header, file, ticks.clone()).unwrap());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let interrupt = CancellationToken::new();
        let places = cluster_site::places(&cluster).unwrap();
        let kept = Arc::clone(&cluster);
        let collect: Collect = Box::new(move |recorder, planted| {
            evidence::scan(recorder, planted, &places)?;
            ledgers::collect(recorder, &kept)
        });
        let conducted = runtime
            .block_on(conduct(
                &site,
                &score,
                &recorder,
                directory.log_dumps(),
                None,
                collect,
                &interrupt,
            ))
            .unwrap();
        Arc::into_inner(recorder).unwrap().finish().unwrap();
        RunDirectory::write_json(&directory.path().join(REQUIRED_FILE), &required()).unwrap();
        let verdict = check_directory(directory.path(), &*ticks, &mut std::io::stdout()).unwrap();
        directory.seal_history().unwrap();

        let history = directory.read_history().unwrap();
        assert!(history.failures.is_empty(), "{:?}", history.failures);
        let phases: Vec<_> = history.phases.iter().map(|event| event.phase).collect();
        assert_eq!(phases, [Phase::Quiet, Phase::Faults, Phase::Heal, Phase::Final, Phase::Done]);
        let mut counts = std::collections::BTreeMap::new();
        for op in &history.ops {
            *counts.entry(class(op)).or_insert(0_u64) += 1;
        }
        println!("{counts:?} {:?}", conducted.share);
        for op in &history.ops {
            if class(op) != "ok" {
                println!("{op:?}");
            }
        }
        assert!(!counts.contains_key("unexpected"), "{counts:?}");
        let ok = counts.get("ok").copied().unwrap_or(0);
        assert!(ok > 20 * seconds, "{counts:?}");
        // Only what a dying client left and its likes.
        assert!(history.ops.len() as u64 - ok < ok / 20, "{counts:?}");
        assert_eq!(verdict.judgement, Judgement::Valid, "{:?}", verdict.reasons);
        let own = |op: &Op| matches!(&op.asked.call, Call::CreateSecret(c) if c.kms_key.is_some());
        assert!(history.ops.iter().any(own));
        let off = |event: &KeySwitch| !event.on && event.step == SwitchStep::Acknowledged;
        assert!(history.key_switches.iter().any(off), "{:?}", history.key_switches);
        assert!(history.key_switches.last().is_some_and(|event| event.on), "it is left on");
        for node in (1..=3).map(NodeId) {
            let of_node = history.samples.iter().filter(|sample| sample.node == node).count();
            assert!(of_node as u64 > 2 * seconds, "{of_node} looks at node {node}");
            assert!(history.ops.iter().any(|op| op.asked.node == node));
        }
        assert!(history.samples.iter().any(|sample| sample.role == RaftRole::Leader));
        let last_phase = history.phases[3].at;
        let in_the_end = history.ops.iter().filter(|op| op.invoked > last_phase);
        assert!(in_the_end.clone().count() > 12);
        assert!(in_the_end.clone().all(|op| class(op) == "ok"));
        drop(small);
        runtime.shutdown_timeout(Duration::from_secs(5));
    });
}

fn class(op: &Op) -> &'static str {
    match &op.completed {
        Some((_, Outcome::Ok(_))) => "ok",
        Some((_, Outcome::Fail(_))) => "fail",
        Some((_, Outcome::Info(_))) => "info",
        Some((_, Outcome::Unexpected(_))) => "unexpected",
        None => "open",
    }
}

/// What a run without faults can show.
fn required() -> Required {
    // L13 with hashes and L10 with the log as well; not those whose workloads are still to come.
    let laws = [
        Law::L1,
        Law::L2,
        Law::L3,
        Law::L4,
        Law::L5,
        Law::L6,
        Law::L10,
        Law::L11,
        Law::L12,
        Law::L13,
        Law::L14,
        Law::L15,
        Law::L16,
        Law::L17,
    ];
    Required { ops: 200, leaderships: 1, laws: laws.into(), ..Required::default() }
}

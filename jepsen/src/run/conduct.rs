//! The phases of a run, in their order (`verification §1`).
//!
//! Load runs from the first phase until everything has been mended and the cluster has recovered.
//! Whatever fails on the way, what was broken is mended and what was recorded is kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::attempt::Shared;
use super::books::{CanaryBook, DestroyedBook, Planted, SecretBook};
use super::destroyed_scan;
use super::finale;
use super::folders::create_folders;
use super::key_switcher::KeySwitcher;
use super::load::{Load, workers_of};
use super::log_follower::LogFollower;
use super::pace::{HarnessShare, Pace};
use super::readers::create_readers;
use super::recovery::{converged, recovered};
use super::sampler::Sampler;
use super::setup::{Login, create_own_key};
use super::site::Site;
use super::trouble::Trouble;
use crate::client::callers::Callers;
use crate::client::callers::Readers;
use crate::history::event::Phase;
use crate::history::recorder::Recorder;
use crate::workload::{Mix, Premises};

/// How long the cluster may take until it is whole before the first phase.
const START: Duration = Duration::from_secs(60);

/// How long the nodes are looked at after the end; some looks at each of them.
const LAST_LOOKS: Duration = Duration::from_secs(1);

/// How long each phase lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Durations {
    /// Load without faults, in seconds.
    pub quiet_s: u64,
    /// Load under faults, in seconds.
    pub faults_s: u64,
    /// Load after everything is mended, in seconds: at least so long.
    pub heal_s: u64,
    /// How long the cluster may take to recover after that, and to converge in the end.
    pub recovery_s: u64,
}

/// What is asked, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// The seed of the load.
    pub seed: u64,
    /// How long.
    pub durations: Durations,
    /// What.
    pub mix: Mix,
    /// Within how many seconds destroyed payloads are to be gone from all files, if the run is to
    /// look whether they are.
    pub erased_within_s: Option<u64>,
}

/// Collects what can be seen only while the servers still run; may block.
pub type Collect = Box<dyn FnOnce(&Recorder, &[Planted]) -> Result<()> + Send>;

/// How a run went, apart from what the history says.
#[derive(Debug)]
pub struct Conducted {
    /// What the harness took of the machine.
    pub share: HarnessShare,
    /// Whether the run was interrupted.
    pub interrupted: bool,
}

/// Runs all phases. The nodes' logs go into `log_directory`. Records a failure of the harness, and returns none but that of recording.
///
/// # Errors
/// When the history cannot be written.
pub async fn conduct(
    site: &Site,
    score: &Score,
    recorder: &Arc<Recorder>,
    log_directory: PathBuf,
    trouble: Option<Box<dyn Trouble>>,
    collect: Collect,
    interrupt: &CancellationToken,
) -> Result<Conducted> {
    let pace = Arc::new(Pace::new(workers_of(&score.mix), score.mix.ops_per_second));
    let run = Run {
        site: site.clone(),
        score: *score,
        recorder: Arc::clone(recorder),
        interrupt: interrupt.clone(),
        hurry: interrupt.child_token(),
        pace: Arc::clone(&pace),
        log_directory,
    };
    if let Err(error) = run.play(trouble, collect).await {
        recorder.failure(format!("{error:#}"))?;
    }
    let interrupted = interrupt.is_cancelled();
    Ok(Conducted { share: pace.share(), interrupted })
}

struct Run {
    site: Site,
    score: Score,
    recorder: Arc<Recorder>,
    interrupt: CancellationToken,
    /// Ends every phase: when the run is interrupted, or has failed.
    hurry: CancellationToken,
    pace: Arc<Pace>,
    /// Where the nodes' logs are written.
    log_directory: PathBuf,
}

impl Run {
    async fn play(&self, trouble: Option<Box<dyn Trouble>>, collect: Collect) -> Result<()> {
        let sampler = Sampler::start(&self.site, &self.recorder)?;
        let follower = LogFollower::start(&self.site, &self.log_directory)?;
        if !recovered(&self.site, sampler.looks(), START).await {
            return Err(anyhow!("the cluster is not whole {START:?} after its start"));
        }
        let login = Login::new(&self.site).await?;
        let token = login.token.clone();
        let own_key = match self.score.mix.own_keys {
            0 => None,
            _ => Some(create_own_key(&self.site, &token).await?),
        };
        let readers = match self.score.mix.rights {
            0 => Readers::default(),
            _ => create_readers(&self.site, &token).await?,
        };
        let folders = match self.score.mix.folders() {
            0 => Vec::new(),
            count => create_folders(&self.site, &token, count).await?,
        };
        let switched = own_key.clone().filter(|_| self.score.mix.keys_switched);
        let premises =
            Premises { own_key, readers: readers.kept.keys().cloned().collect(), folders };
        let switcher = match switched {
            Some(key) => Some(KeySwitcher::start(&self.site, &token, key, &self.recorder)?),
            None => None,
        };
        let callers = Callers::new(token).with_readers(readers);
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(login.renew(self.site.clone(), stop.clone()));
        let shared = Arc::new(Shared {
            site: self.site.clone(),
            recorder: Arc::clone(&self.recorder),
            pace: Arc::clone(&self.pace),
            callers,
            secrets: SecretBook::default(),
            destroyed: DestroyedBook::default(),
            canaries: CanaryBook::default(),
            concurrency: u64::try_from(workers_of(&self.score.mix)).unwrap_or(u64::MAX),
            deadline: Duration::from_millis(self.score.mix.deadline_ms),
            abandoned_permille: self.score.mix.abandoned_permille,
            mended: AtomicBool::new(false),
        });
        let (mix, seed) = (&self.score.mix, self.score.seed);
        let load = Load::start(&shared, mix, seed, &premises);
        let loaded = self.under_load(load, trouble, switcher, &shared, &sampler).await;
        let played = match &loaded {
            Ok(()) if !self.interrupt.is_cancelled() => self.finish(&shared, &sampler).await,
            Ok(()) | Err(_) => Ok(()),
        };
        // The samplers go on meanwhile: to the laws a time without looks is one without a leader.
        let collected = self.collect(collect, shared.canaries.planted()).await;
        let sampled = sampler.stop().await;
        let followed = follower.stop().await;
        stop.cancel();
        while let Some(ended) = tasks.join_next().await {
            ended.context("the login has panicked")??;
        }
        loaded.and(played).and(collected).and(sampled).and(followed)
    }

    /// The phases in which the load runs. It is stopped in any case.
    async fn under_load(
        &self,
        mut load: Load,
        trouble: Option<Box<dyn Trouble>>,
        switcher: Option<KeySwitcher>,
        shared: &Shared,
        sampler: &Sampler,
    ) -> Result<()> {
        let phases = async {
            let Durations { quiet_s, faults_s, heal_s, recovery_s } = self.score.durations;
            self.recorder.phase(Phase::Quiet)?;
            self.pause(quiet_s).await;
            self.recorder.phase(Phase::Faults)?;
            let raged = self.rage(trouble, faults_s).await;
            shared.mended.store(true, Ordering::Relaxed);
            // From the next phase on everything that is asked is to succeed.
            let switched = match switcher {
                Some(switcher) => switcher.stop().await,
                None => Ok(()),
            };
            self.recorder.phase(Phase::Heal)?;
            // A cluster that did not come back is a failure, and something for L14 to judge.
            for error in [raged, switched].into_iter().filter_map(Result::err) {
                self.recorder.failure(format!("{error:#}"))?;
            }
            self.pause(heal_s).await;
            // Whether it has is for the laws to say; what follows is worth trying in any case.
            let patience = Duration::from_secs(recovery_s);
            tokio::select! {
                () = self.hurry.cancelled() => {}
                _ = recovered(&self.site, sampler.looks(), patience) => {}
            }
            Ok(())
        };
        tokio::pin!(phases);
        let ended = tokio::select! {
            ended = &mut phases => ended,
            failed = load.failed() => {
                // Not dropped: what is broken has to be mended first.
                self.hurry.cancel();
                phases.await.and(failed.map(|never| match never {}))
            }
        };
        ended.and(load.stop().await)
    }

    /// Lets faults happen for a while, and mends everything, whatever came of them.
    async fn rage(&self, trouble: Option<Box<dyn Trouble>>, seconds: u64) -> Result<()> {
        let Some(trouble) = trouble else {
            self.pause(seconds).await;
            return Ok(());
        };
        let stop = CancellationToken::new();
        let (recorder, stopped) = (Arc::clone(&self.recorder), stop.clone());
        let mut raging = JoinSet::new();
        raging.spawn_blocking(move || trouble.rage(&recorder, &stopped));
        let ended = tokio::select! {
            ended = raging.join_next() => ended,
            () = self.pause(seconds) => {
                stop.cancel();
                raging.join_next().await
            }
        };
        ended.context("there was no nemesis")?.context("the nemesis has panicked")?
    }

    /// The final reads and writes, the wait until all nodes have the same state, and the look for
    /// what was destroyed.
    async fn finish(&self, shared: &Arc<Shared>, sampler: &Sampler) -> Result<()> {
        self.recorder.phase(Phase::Final)?;
        finale::play(shared, self.score.seed, &self.hurry).await?;
        let patience = Duration::from_secs(self.score.durations.recovery_s);
        // Whether it has converged is for the laws to say, from the samples.
        tokio::select! {
            biased;
            // Without the last phase the run is not valid, whatever was seen.
            () = self.hurry.cancelled() => return Ok(()),
            _ = converged(&self.site, sampler.looks(), patience) => {}
        }
        self.recorder.phase(Phase::Done)?;
        // The state that all of them ended with is what the looks after the end show.
        sleep(LAST_LOOKS).await;
        sampler.hash_all(&self.site, &self.recorder).await?;
        let Some(seconds) = self.score.erased_within_s else { return Ok(()) };
        tokio::select! {
            () = self.hurry.cancelled() => Ok(()),
            looked = destroyed_scan::look(shared, Duration::from_secs(seconds)) => looked,
        }
    }

    async fn collect(&self, collect: Collect, planted: Vec<Planted>) -> Result<()> {
        let recorder = Arc::clone(&self.recorder);
        let mut collecting = JoinSet::new();
        collecting.spawn_blocking(move || collect(&recorder, &planted));
        let ended = collecting.join_next().await.context("nothing was collected")?;
        ended.context("the collection has panicked")?
    }

    /// Waits, unless somebody is in a hurry to end.
    async fn pause(&self, seconds: u64) {
        tokio::select! {
            () = self.hurry.cancelled() => {}
            () = sleep(Duration::from_secs(seconds)) => {}
        }
    }
}

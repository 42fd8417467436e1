//! Where a run takes place: a cluster in the run's own network, or one on loopback.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;

use super::enclosed_site;
use super::evidence::ServerPlaces;
use super::planned_trouble::PlannedTrouble;
use super::recorded_faults::RecordedFaults;
use super::site::Site;
use super::trouble::Trouble;
use crate::cluster::Cluster;
use crate::cluster::part::Part;
use crate::plan::Plan;

/// A cluster that has been formed. It ends with this value.
pub trait Ground: Send + Sync {
    /// Where it is.
    ///
    /// # Errors
    /// When one of its files cannot be read.
    fn site(&self) -> Result<Site>;

    /// The places of all servers that have ever been started.
    ///
    /// # Errors
    /// When it lacks one of its parts.
    fn places(&self) -> Result<Vec<ServerPlaces>>;

    /// The configuration of its KMS.
    fn kms_config(&self) -> PathBuf;

    /// What a plan does to it.
    fn trouble(self: Arc<Self>, plan: &Plan, log: &Arc<RecordedFaults>) -> Box<dyn Trouble>;
}

/// A cluster in the run's own network, where every fault is possible.
pub struct Enclosed(Arc<Cluster>);

impl Enclosed {
    /// This one.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self(Arc::new(cluster))
    }
}

impl Ground for Enclosed {
    fn site(&self) -> Result<Site> {
        enclosed_site::of_cluster(&self.0)
    }

    fn places(&self) -> Result<Vec<ServerPlaces>> {
        enclosed_site::places(&self.0)
    }

    fn kms_config(&self) -> PathBuf {
        self.0.files().config(Part::Kms)
    }

    fn trouble(self: Arc<Self>, plan: &Plan, log: &Arc<RecordedFaults>) -> Box<dyn Trouble> {
        let cluster = Arc::clone(&self.0);
        Box::new(PlannedTrouble::new(cluster, plan.clone(), Arc::clone(log)))
    }
}

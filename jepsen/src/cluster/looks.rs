//! Looks at the cluster as a whole: who is ready, and who leads.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use super::Cluster;
use super::observe::{self, NodeView, Role};
use super::part::Part;
use super::server::Life;
use crate::moment::until;

impl Cluster {
    /// Waits until a server says that it is ready.
    ///
    /// # Errors
    /// When it ends, or is not ready in time; then with what it said last.
    pub fn wait_ready(&self, part: Part, patience: Duration) -> Result<()> {
        self.wait_until(part, patience, |part| self.is_ready(part) == Some(true))
    }

    /// Waits until a server answers, ready or not.
    ///
    /// # Errors
    /// When it ends, or does not answer in time; then with what it said last.
    pub fn wait_listening(&self, part: Part, patience: Duration) -> Result<()> {
        self.wait_until(part, patience, |part| self.is_ready(part).is_some())
    }

    fn wait_until(
        &self,
        part: Part,
        patience: Duration,
        is_so: impl Fn(Part) -> bool,
    ) -> Result<()> {
        let server = self.server(part)?;
        let looked = until(patience, || match server.life() {
            Ok(Life::Runs) => is_so(part).then_some(Ok(())),
            Ok(Life::Down) => Some(Err(anyhow!("{part} has ended: {}", server.last_words()))),
            Ok(Life::Paused) => Some(Err(anyhow!("{part} is paused"))),
            Err(error) => Some(Err(error)),
        });
        let Some(looked) = looked else {
            let reason = observe::unready_reason(self.network, part);
            bail!("{part} is not ready after {patience:?}: {reason} {}", server.last_words());
        };
        looked
    }

    /// A node as it sees itself now; none when it does not answer.
    #[must_use]
    pub fn view(&self, node: u16) -> Option<NodeView> {
        observe::view(self.network, node)
    }

    /// Whether a server says that it is ready; none when it does not answer.
    #[must_use]
    pub fn is_ready(&self, part: Part) -> Option<bool> {
        observe::is_ready(self.network, part)
    }

    /// Whether a node says that its disk is low; none when it does not answer.
    #[must_use]
    pub fn disk_is_low(&self, node: u16) -> Option<bool> {
        observe::disk_is_low(self.network, node)
    }

    /// Each running node as it sees itself now.
    #[must_use]
    pub fn views(&self) -> Vec<NodeView> {
        let nodes = self.servers.keys().filter_map(|part| match part {
            Part::Node(id) => Some(*id),
            Part::Kms => None,
        });
        let runs = |id: &u16| {
            let server = self.servers.get(&Part::Node(*id));
            server.is_some_and(|server| matches!(server.life(), Ok(Life::Runs)))
        };
        nodes.filter(runs).filter_map(|node| self.view(node)).collect()
    }

    /// The node that leads, as far as nodes say: of two, the one in the later term.
    #[must_use]
    pub fn leader(&self) -> Option<u16> {
        leader_of(&self.views())
    }
}

/// The leader that these views name.
fn leader_of(views: &[NodeView]) -> Option<u16> {
    let leaders = views.iter().filter(|view| view.role == Role::Leader);
    leaders.max_by_key(|view| view.term).map(|view| view.node)
}

//! Who calls (`design §7`): a node for a subject, a node in its own name, or a subject itself.
//!
//! Promises: an assertion is believed only over a connection whose client certificate is a
//! node's; nothing is remembered between calls; the cluster is asked about what can be a token of
//! it, and about so many at one time ([`asking`]).

pub mod asking;
pub mod assertion;
mod grants;
pub mod introspect;
pub mod names;
pub mod policy;

use std::net::IpAddr;
use std::sync::Arc;

use lockbox_core::{Clock, SensitiveString};
use lockbox_platform::token::is_formed;
use tokio::time::Instant;

use self::asking::{Asking, Crowded};
use self::assertion::{Asserted, AssertionError};
use self::introspect::{ClusterUnavailable, Introspected, Introspector};
use self::names::NodeName;
use self::policy::Policy;
use crate::caller::{Caller, Via};

/// Why nobody was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthnError {
    /// There is neither a token nor a node's certificate.
    #[error("authentication is required")]
    Missing,
    /// An assertion came over a connection that is not a node's.
    #[error("a caller assertion is accepted only from a node")]
    NotANode,
    /// The assertion is not believed.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    /// The token is unknown, expired or revoked.
    #[error("the token is not valid")]
    InvalidToken,
    /// The token cannot be checked now.
    #[error(transparent)]
    Unavailable(#[from] ClusterUnavailable),
    /// Too many others are checked now.
    #[error(transparent)]
    Crowded(#[from] Crowded),
}

/// What a call brings to prove who makes it.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    /// DNS names in the client certificate; empty without one.
    pub certificate_names: &'a [String],
    /// The assertion's bytes.
    pub assertion: Option<&'a [u8]>,
    /// The bearer token.
    pub token: Option<&'a SensitiveString>,
    /// Where it comes from; none within the process.
    pub address: Option<IpAddr>,
    /// Until when the caller waits.
    pub deadline: Instant,
}

/// A recognised caller, with what an assertion says of the client behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// Who calls.
    pub caller: Caller,
    /// Id of the client's request.
    pub request_id: Option<String>,
    /// Address of the client.
    pub remote_address: Option<String>,
    /// Program of the client.
    pub user_agent: Option<String>,
}

/// Recognises callers.
pub struct Authenticator {
    nodes: Vec<NodeName>,
    policy: Policy,
    introspector: Option<Arc<dyn Introspector>>,
    asking: Asking,
    clock: Arc<dyn Clock>,
}

impl Authenticator {
    /// Recognises nodes by these names, and tokens by the policy or, failing that, the cluster.
    #[must_use]
    pub fn new(
        nodes: Vec<NodeName>,
        policy: Policy,
        introspector: Option<Arc<dyn Introspector>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { nodes, policy, introspector, asking: Asking::default(), clock }
    }

    /// Says who calls.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub async fn authenticate(
        &self,
        credentials: Credentials<'_>,
    ) -> Result<Authenticated, AuthnError> {
        let node = credentials
            .certificate_names
            .iter()
            .find(|name| self.nodes.iter().any(|node| node.matches(name)));
        match (node, credentials.assertion, credentials.token) {
            (Some(node), Some(bytes), _) => {
                Ok(assertion::read(bytes, node, self.clock.wall_ms())?.into())
            }
            (None, Some(_), _) => Err(AuthnError::NotANode),
            (_, None, Some(token)) => self.token(token, &credentials).await,
            (Some(node), None, None) => Ok(Caller::node(node).into()),
            (None, None, None) => Err(AuthnError::Missing),
        }
    }

    async fn token(
        &self,
        token: &SensitiveString,
        credentials: &Credentials<'_>,
    ) -> Result<Authenticated, AuthnError> {
        if let Some(found) = self.policy.find(token) {
            return Ok(Caller::from(found.clone()).into());
        }
        let Some(introspector) = &self.introspector else { return Err(AuthnError::InvalidToken) };
        if !is_formed(token.expose()) {
            return Err(AuthnError::InvalidToken);
        }
        let place = self.asking.place(credentials.address, credentials.deadline).await?;
        if let Some(found) = introspector.introspect(token, credentials.deadline).await? {
            return Ok(Caller::from(found).into());
        }
        place.unknown(credentials.deadline).await;
        Err(AuthnError::InvalidToken)
    }
}

impl From<Introspected> for Caller {
    fn from(found: Introspected) -> Self {
        let Introspected { subject, subject_name, token_id, borrowed, rights } = found;
        Self { subject, subject_name, token_id, borrowed, via: Via::Token, rights }
    }
}

impl From<Caller> for Authenticated {
    fn from(caller: Caller) -> Self {
        Self { caller, request_id: None, remote_address: None, user_agent: None }
    }
}

impl From<Asserted> for Authenticated {
    fn from(asserted: Asserted) -> Self {
        let Asserted { caller, request_id, remote_address, user_agent } = asserted;
        let given = |text: String| (!text.is_empty()).then_some(text);
        Self {
            caller,
            request_id: given(request_id),
            remote_address: given(remote_address),
            user_agent: given(user_agent),
        }
    }
}

#[cfg(test)]
mod tests;

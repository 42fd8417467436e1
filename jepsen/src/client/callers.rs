//! Who calls: the run's administrator, and the readers whose rights come and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use tonic::metadata::{Ascii, MetadataValue};

use super::account_key::Token;
use crate::history::ids::{Subject, TokenId};

/// What a call carries whose caller the run never made: no token.
const NOBODY: &str = "Bearer nobody";

/// The token of each caller. Never printed.
#[derive(Debug, Clone)]
pub struct Callers {
    administrator: Token,
    readers: Arc<Readers>,
}

/// The readers of a run, and the tokens that each has.
#[derive(Debug, Clone, Default)]
pub struct Readers {
    /// The token that each keeps for the whole run.
    pub kept: BTreeMap<Subject, Token>,
    /// Those that may be revoked.
    pub spare: BTreeMap<TokenId, Token>,
}

impl Callers {
    /// The administrator, and nobody else.
    #[must_use]
    pub fn new(administrator: Token) -> Self {
        Self { administrator, readers: Arc::default() }
    }

    /// With these readers.
    #[must_use]
    pub fn with_readers(self, readers: Readers) -> Self {
        Self { readers: Arc::new(readers), ..self }
    }

    /// The header `authorization` of a caller who uses this one of its tokens; of the administrator
    /// when none is named.
    #[must_use]
    pub fn bearer(
        &self,
        subject: Option<&Subject>,
        token: Option<&TokenId>,
    ) -> MetadataValue<Ascii> {
        let token = match (token, subject) {
            (Some(token), _) => self.spare(token),
            (None, Some(subject)) => self.readers.kept.get(subject),
            (None, None) => Some(&self.administrator),
        };
        token.map_or_else(|| MetadataValue::from_static(NOBODY), Token::bearer)
    }

    /// A token that may be revoked.
    #[must_use]
    pub fn spare(&self, token: &TokenId) -> Option<&Token> {
        self.readers.spare.get(token)
    }
}

//! Who calls: the run's administrator, and the readers whose rights come and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use tonic::metadata::{Ascii, MetadataValue};

use super::account_key::Token;
use crate::history::ids::Subject;

/// What a call carries whose caller the run never made: no token.
const NOBODY: &str = "Bearer nobody";

/// The token of each caller. Never printed.
#[derive(Debug, Clone)]
pub struct Callers {
    administrator: Token,
    readers: Arc<BTreeMap<Subject, Token>>,
}

impl Callers {
    /// The administrator, and nobody else.
    #[must_use]
    pub fn new(administrator: Token) -> Self {
        Self { administrator, readers: Arc::default() }
    }

    /// With these readers.
    #[must_use]
    pub fn with_readers(self, readers: BTreeMap<Subject, Token>) -> Self {
        Self { readers: Arc::new(readers), ..self }
    }

    /// The header `authorization` of a caller; of the administrator when none is named.
    #[must_use]
    pub fn bearer(&self, subject: Option<&Subject>) -> MetadataValue<Ascii> {
        match subject {
            None => self.administrator.bearer(),
            Some(subject) => match self.readers.get(subject) {
                Some(token) => token.bearer(),
                None => MetadataValue::from_static(NOBODY),
            },
        }
    }
}

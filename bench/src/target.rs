//! One connection to whatever is measured.

use tonic::Status;

use crate::{echo, etcd, lockbox};

/// One call of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Read the value in this slot.
    Get(usize),
    /// Write the value in this slot.
    Put(usize),
}

/// A connection. Clones share it.
#[derive(Debug, Clone)]
pub enum Target {
    /// A Lockbox node; a slot is a secret.
    Lockbox(Box<lockbox::Session>),
    /// An etcd member; a slot is a key.
    Etcd(etcd::Session),
    /// A bare echo server, which has no slots.
    Echo(echo::Session),
}

impl Target {
    /// Makes one call and checks the answer.
    ///
    /// # Errors
    /// The server's status; DATA_LOSS when what was read is not as long as what was written.
    pub async fn call(&mut self, call: Call) -> Result<(), Status> {
        match self {
            Self::Lockbox(session) => session.call(call).await,
            Self::Etcd(session) => session.call(call).await,
            Self::Echo(session) => session.call(call).await,
        }
    }
}

/// Fails a read whose value is not as long as what was written.
///
/// # Errors
/// DATA_LOSS.
pub fn check_length(read: usize, written: usize) -> Result<(), Status> {
    if read == written {
        return Ok(());
    }
    Err(Status::data_loss(format!("read {read} bytes where {written} were written")))
}

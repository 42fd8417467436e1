//! The channel to the KMS, which can be made anew.

use std::sync::{Mutex, PoisonError};

use tonic::transport::Channel;

type Connect = Box<dyn Fn() -> Channel + Send + Sync>;

/// The present channel, and how another one is made.
pub(super) struct Line {
    connect: Connect,
    channel: Mutex<Channel>,
}

impl Line {
    pub(super) fn new(connect: Connect) -> Self {
        let channel = Mutex::new(connect());
        Self { connect, channel }
    }

    /// The channel for one call.
    pub(super) fn channel(&self) -> Channel {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every later call goes over another channel. The connection of this one ends with the calls
    /// that are under way on it.
    pub(super) fn renew(&self) {
        *self.channel.lock().unwrap_or_else(PoisonError::into_inner) = (self.connect)();
    }
}

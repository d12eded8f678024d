//! The leases of the one process that receives, in memory: they end with the process.
//! How long they last, and when they are renewed, the forwarder says: `receiver::forward`.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::store::{ForwardId, Lease, LeaseToken};

/// The leases that were given and have not ended, by forward.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: HashMap<ForwardId, (LeaseToken, Timestamp)>,
    last_token: u64,
}

impl Leases {
    /// Whether the forward is leased.
    pub(super) fn is_leased(&self, forward: i64, now: Timestamp) -> bool {
        self.held.get(&ForwardId(forward)).is_some_and(|(_, until)| now < *until)
    }

    /// The number of leases.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Leases the forward until then.
    pub(super) fn give(&mut self, forward: ForwardId, until: Timestamp) -> LeaseToken {
        self.last_token += 1;
        let token = LeaseToken(self.last_token);
        self.held.insert(forward, (token, until));
        token
    }

    /// Whether this is the lease on record for its forward. An expired one is, until the forward is leased again.
    pub(super) fn holds(&self, lease: Lease) -> bool {
        self.held.get(&lease.forward).is_some_and(|(token, _)| *token == lease.token)
    }

    /// Ends the lease, if it is that of its forward.
    pub(super) fn end(&mut self, lease: Lease) {
        if self.holds(lease) {
            self.held.remove(&lease.forward);
        }
    }

    /// Makes the lease end then. Returns whether it was that of its forward.
    pub(super) fn renew(&mut self, lease: Lease, until: Timestamp) -> bool {
        match self.held.get_mut(&lease.forward) {
            Some((token, end)) if *token == lease.token => {
                *end = until;
                true
            }
            _ => false,
        }
    }
}

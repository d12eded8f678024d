//! The leases of the one process that receives, in memory: they end with the process.
//! How long they last, and when they are renewed, the forwarder says: `receiver::forward`.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::store::{ForwardId, Lease, LeaseToken, TargetId};

/// What a forward is about. If it is removed while it is leased, another process may give its number to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ForwardIdentity {
    pub(super) target: TargetId,
    pub(super) delivery: i64,
    pub(super) first_event: i64,
}

/// A lease that was given.
#[derive(Debug)]
struct HeldLease {
    token: LeaseToken,
    until: Timestamp,
    of: ForwardIdentity,
}

/// The leases that were given and have not ended, by forward.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: HashMap<ForwardId, HeldLease>,
    last_token: u64,
}

impl Leases {
    /// Whether the forward is leased.
    pub(super) fn is_leased(&self, forward: i64, now: Timestamp) -> bool {
        self.held.get(&ForwardId(forward)).is_some_and(|held| now < held.until)
    }

    /// The number of leases.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Leases the forward until then.
    pub(super) fn give(&mut self, forward: ForwardId, of: ForwardIdentity, until: Timestamp) -> LeaseToken {
        self.last_token += 1;
        let token = LeaseToken(self.last_token);
        self.held.insert(forward, HeldLease { token, until, of });
        token
    }

    /// What a lease is of, if it is the one on record for its forward. An expired one is, until the forward is leased again.
    pub(super) fn held(&self, lease: Lease) -> Option<ForwardIdentity> {
        self.held.get(&lease.forward).filter(|held| held.token == lease.token).map(|held| held.of)
    }

    /// Ends the lease, if it is that of its forward.
    pub(super) fn end(&mut self, lease: Lease) {
        if self.held(lease).is_some() {
            self.held.remove(&lease.forward);
        }
    }

    /// Makes the lease end then. Returns whether it was that of its forward.
    pub(super) fn renew(&mut self, lease: Lease, until: Timestamp) -> bool {
        match self.held.get_mut(&lease.forward) {
            Some(held) if held.token == lease.token => {
                held.until = until;
                true
            }
            _ => false,
        }
    }
}

//! The queue of forwards, as a forwarder uses it.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;

use crate::error::Result;
use crate::receiver::writer::Writer;
use crate::store::{ClaimRequest, Lease, Leased, Settled, Settlement, TargetId};

/// What a forwarder needs of the store, asynchronously. See [`crate::store::Queue`] for what each method does.
pub(in crate::receiver) trait ForwardQueue: Clone + Send + Sync + 'static {
    fn claim(
        &self,
        target: TargetId,
        request: ClaimRequest,
        now: Timestamp,
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<Leased>>> + Send;

    fn renew(
        &self,
        leases: Vec<Lease>,
        now: Timestamp,
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<Lease>>> + Send;

    fn settle(&self, settlement: Settlement) -> impl Future<Output = Result<Settled>> + Send;

    /// Releases the lease of an attempt that was cut off, without waiting.
    fn release(&self, lease: Lease);

    fn next_due(&self, target: TargetId, now: Timestamp) -> impl Future<Output = Result<Option<Timestamp>>> + Send;

    /// See [`crate::store::Coordination::hold`].
    fn hold(&self, target: TargetId, until: Option<Timestamp>) -> impl Future<Output = Result<()>> + Send;
}

impl ForwardQueue for Writer {
    async fn claim(
        &self,
        target: TargetId,
        request: ClaimRequest,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<Leased>> {
        self.claim(target, request, now, lease).await
    }

    async fn renew(&self, leases: Vec<Lease>, now: Timestamp, lease: Duration) -> Result<Vec<Lease>> {
        self.renew(leases, now, lease).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<Settled> {
        self.settle(settlement).await
    }

    fn release(&self, lease: Lease) {
        self.release(lease);
    }

    async fn next_due(&self, target: TargetId, now: Timestamp) -> Result<Option<Timestamp>> {
        self.next_due(target, now).await
    }

    async fn hold(&self, target: TargetId, until: Option<Timestamp>) -> Result<()> {
        self.hold(target, until).await
    }
}

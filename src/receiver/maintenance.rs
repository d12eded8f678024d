//! Maintenance while serving: dead-lettering what was pending for too long, and retention.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::clock::{Clock, Moment};
use super::metrics::Metrics;
use super::peers::Peers;
use super::writer::Writer;
use crate::error::Result;
use crate::store::{Attendance, PurgeRule, Purged};

/// How often old events are purged and forwards expired.
const INTERVAL: Duration = Duration::from_secs(30);

/// Forwards that became too old while no receiver ran are retried for this long before they are dead-lettered.
const LAST_TRIES: Duration = Duration::from_secs(60 * 60);

/// What maintenance needs of the store, asynchronously. Each call does a piece of the work.
pub(super) trait Upkeep {
    /// See [`crate::store::Queue::expire`].
    fn expire(
        &self,
        queued_before: Timestamp,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<(String, u64)>>> + Send;

    /// Purges a little.
    fn purge(&self, rule: PurgeRule) -> impl Future<Output = Result<Purged>> + Send;

    /// See [`crate::store::Maintenance::keep_reserve`].
    fn keep_reserve(&self, bytes: u64) -> impl Future<Output = Result<()>> + Send;
}

impl Upkeep for Writer {
    async fn expire(&self, queued_before: Timestamp, now: Timestamp) -> Result<Vec<(String, u64)>> {
        self.expire(queued_before, now).await
    }

    async fn purge(&self, rule: PurgeRule) -> Result<Purged> {
        self.purge(rule).await
    }

    async fn keep_reserve(&self, bytes: u64) -> Result<()> {
        self.keep_reserve(bytes).await
    }
}

/// What is kept of what was received, and in reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// How long events are kept.
    pub retention: Option<SignedDuration>,
    /// How large the inbox may grow, in bytes.
    pub max_size: Option<u64>,
    /// How much of the disk is kept in reserve, in bytes.
    pub reserve: u64,
}

/// The stage of a round of maintenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MaintenanceStage {
    /// Forwards are dead-lettered; the number is how many were in this round.
    Expire(u64),
    /// By this rule, which stays the same for the round: how far it has come is known by it.
    Purge(PurgeRule),
}

/// Maintenance of the inbox, in rounds of small steps, so that other work on the store does not wait for long.
pub(super) struct Upkeeper<U> {
    store: U,
    metrics: Arc<Metrics>,
    max_age: SignedDuration,
    keep: Keep,
    started: Instant,
    stage: MaintenanceStage,
    /// Whether the inbox was larger than allowed in the last round: logged once.
    is_too_large: bool,
    peers: Arc<Peers>,
}

impl<U: Upkeep> Upkeeper<U> {
    pub(super) fn new(store: U, metrics: Arc<Metrics>, max_age: SignedDuration, keep: Keep, now: Moment) -> Self {
        let stage = MaintenanceStage::Expire(0);
        let peers = Peers::new(Attendance::default());
        Self { store, metrics, max_age, keep, started: now.instant, stage, is_too_large: false, peers }
    }

    /// The same, as one of several receivers, of which one maintains the inbox.
    pub(super) fn among(self, peers: Arc<Peers>) -> Self {
        Self { peers, ..self }
    }

    /// Maintains the inbox until aborted.
    pub(super) async fn run(mut self, clock: Clock) {
        loop {
            match self.step(clock.now()).await {
                None => tokio::task::yield_now().await,
                Some(rest) => tokio::time::sleep(rest).await,
            }
        }
    }

    /// Makes one step. Returns how long to wait if the round has ended with it.
    async fn step(&mut self, now: Moment) -> Option<Duration> {
        if !self.peers.is_first() {
            self.stage = MaintenanceStage::Expire(0);
            return Some(INTERVAL);
        }
        match self.stage {
            MaintenanceStage::Expire(so_far) => self.expire(now, so_far).await,
            MaintenanceStage::Purge(rule) => self.purge(rule).await,
        }
    }

    async fn expire(&mut self, now: Moment, so_far: u64) -> Option<Duration> {
        let has_tried = now.instant - self.started >= LAST_TRIES.min(self.max_age.unsigned_abs());
        let expired = match now.trusted.map(|time| time.checked_sub(self.max_age)) {
            Some(Ok(before)) if has_tried => self.store.expire(before, now.time).await,
            _ => Ok(Vec::new()),
        };
        match expired {
            Ok(some) if !some.is_empty() => {
                for (target, count) in &some {
                    self.metrics.expired(target, *count);
                }
                self.stage = MaintenanceStage::Expire(so_far + some.iter().map(|(_, count)| count).sum::<u64>());
                return None;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!("old forwards could not be dead-lettered: {error}"),
        }
        if so_far > 0 {
            tracing::warn!("{so_far} forwards were queued for too long and are dead-lettered now");
        }
        let before = self.keep.retention.zip(now.trusted).and_then(|(age, time)| time.checked_sub(age).ok());
        self.stage = MaintenanceStage::Purge(PurgeRule { before, max_bytes: self.keep.max_size, even_pending: false });
        None
    }

    async fn purge(&mut self, rule: PurgeRule) -> Option<Duration> {
        if rule.before.is_some() || rule.max_bytes.is_some() {
            match self.store.purge(rule).await {
                Ok(Purged { more: true, .. }) => return None,
                Ok(Purged { too_large, .. }) => {
                    if too_large && !self.is_too_large {
                        tracing::warn!("the inbox stays larger than --max-size allows: what is left in it is pending");
                    }
                    self.is_too_large = too_large;
                }
                Err(error) => tracing::warn!("old events could not be purged: {error}"),
            }
        }
        // It may have been given back, and fails while the disk is full.
        if let Err(error) = self.store.keep_reserve(self.keep.reserve).await {
            tracing::debug!("no space is kept in reserve: {error}");
        }
        self.stage = MaintenanceStage::Expire(0);
        Some(INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Has so many pieces of each kind to do, and writes down what it is asked for.
    struct Pieces {
        left: Mutex<(u32, u32)>,
        asked: Mutex<Vec<String>>,
        start: Timestamp,
    }

    impl Upkeep for &Pieces {
        async fn expire(&self, queued_before: Timestamp, now: Timestamp) -> Result<Vec<(String, u64)>> {
            self.asked.lock().unwrap().push(format!("expire {}", now.duration_since(queued_before).as_hours()));
            let left = &mut self.left.lock().unwrap().0;
            let some = if *left == 0 { Vec::new() } else { vec![("https://x".to_owned(), 1000)] };
            *left = left.saturating_sub(1);
            Ok(some)
        }

        async fn purge(&self, rule: PurgeRule) -> Result<Purged> {
            // One rule for a round: the store knows by it how far the round has come.
            let before = rule.before.map(|before| before.duration_since(self.start).as_secs());
            self.asked.lock().unwrap().push(format!("purge {before:?}"));
            let left = &mut self.left.lock().unwrap().1;
            *left = left.saturating_sub(1);
            Ok(Purged { more: *left > 0, too_large: rule.max_bytes.is_some(), ..Purged::default() })
        }

        async fn keep_reserve(&self, _bytes: u64) -> Result<()> {
            Ok(())
        }
    }

    fn after(start: Moment, seconds: u64) -> Moment {
        let duration = Duration::from_secs(seconds);
        Moment::of(start.instant + duration, start.time + duration)
    }

    async fn round<U: Upkeep>(upkeeper: &mut Upkeeper<U>, now: Moment) -> u32 {
        let mut steps = 1;
        // The clock goes on from step to step.
        let trusted = now.trusted.is_some();
        let later = |steps: u32| {
            let moment = after(now, steps.into());
            Moment { trusted: moment.trusted.filter(|_| trusted), ..moment }
        };
        while upkeeper.step(later(steps)).await.is_none() {
            steps += 1;
        }
        steps
    }

    #[tokio::test]
    async fn a_round_is_made_of_small_steps() {
        let start = Moment::of(Instant::now(), Timestamp::now());
        let pieces = Pieces { left: Mutex::new((2, 3)), asked: Mutex::default(), start: start.time };
        let keep = Keep { retention: Some(SignedDuration::from_hours(24)), ..Keep::default() };
        let max_age = SignedDuration::from_hours(72);
        let mut upkeeper = Upkeeper::new(&pieces, Arc::new(Metrics::default()), max_age, keep, start);
        // Forwards that became too old while no receiver ran are retried for an hour.
        assert_eq!(round(&mut upkeeper, after(start, 3590)).await, 4);
        assert_eq!(*pieces.asked.lock().unwrap(), ["purge Some(-82809)"; 3]);
        pieces.asked.lock().unwrap().clear();
        assert_eq!(round(&mut upkeeper, after(start, 3600)).await, 4);
        assert_eq!(*pieces.asked.lock().unwrap(), ["expire 72", "expire 72", "expire 72", "purge Some(-82797)"]);
    }

    #[tokio::test]
    async fn nothing_goes_by_a_clock_that_is_not_trusted() {
        let start = Moment::of(Instant::now(), Timestamp::now());
        let pieces = Pieces { left: Mutex::new((2, 3)), asked: Mutex::default(), start: start.time };
        let keep = Keep { retention: Some(SignedDuration::from_hours(24)), ..Keep::default() };
        let max_age = SignedDuration::from_hours(72);
        let mut upkeeper = Upkeeper::new(&pieces, Arc::new(Metrics::default()), max_age, keep, start);
        let doubtful = Moment { trusted: None, ..after(start, 31 * 24 * 3600) };
        assert_eq!(round(&mut upkeeper, doubtful).await, 2);
        assert!(pieces.asked.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn without_retention_nothing_is_purged() {
        let start = Moment::of(Instant::now(), Timestamp::now());
        let pieces = Pieces { left: Mutex::new((0, 9)), asked: Mutex::default(), start: start.time };
        let max_age = SignedDuration::from_secs(1);
        let mut upkeeper = Upkeeper::new(&pieces, Arc::new(Metrics::default()), max_age, Keep::default(), start);
        assert_eq!(upkeeper.step(after(start, 1)).await, None);
        assert_eq!(upkeeper.step(after(start, 1)).await, Some(INTERVAL));
        assert_eq!(*pieces.asked.lock().unwrap(), ["expire 0"]);
    }
}

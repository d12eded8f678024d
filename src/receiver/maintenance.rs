//! Maintenance while serving: dead letters of what waited for too long, and retention.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::metrics::Metrics;
use super::writer::Writer;
use crate::store::PurgeRule;

/// How often old events are purged and dead letters made.
const UPKEEP: Duration = Duration::from_secs(30);

/// What grew old while nothing ran has so long, from the start, to be tried once more.
const LAST_TRIES: Duration = Duration::from_secs(60 * 60);

/// Makes dead letters of all that was put in line before this time.
async fn expire(writer: &Writer, metrics: &Metrics, before: Timestamp) {
    let mut expired = 0;
    loop {
        match writer.expire(before).await {
            Ok(none) if none.is_empty() => break,
            Ok(some) => {
                for (target, count) in some {
                    metrics.expired(&target, count);
                    expired += count;
                }
            }
            Err(error) => {
                tracing::warn!("dead letters could not be made: {error}");
                break;
            }
        }
    }
    if expired > 0 {
        tracing::warn!("{expired} forwards waited for too long and are dead letters now");
    }
}

/// Makes dead letters of what waited for too long, and purges what is old.
pub(super) async fn maintain(
    writer: Writer,
    metrics: Arc<Metrics>,
    max_age: SignedDuration,
    retention: Option<SignedDuration>,
) {
    let started = Instant::now();
    let last_tries = LAST_TRIES.min(max_age.unsigned_abs());
    loop {
        let now = Timestamp::now();
        if started.elapsed() >= last_tries
            && let Ok(before) = now.checked_sub(max_age)
        {
            expire(&writer, &metrics, before).await;
        }
        if let Some(before) = retention.and_then(|retention| now.checked_sub(retention).ok()) {
            let rule = PurgeRule { before: Some(before), max_bytes: None, even_pending: false };
            loop {
                match writer.purge(rule).await {
                    Ok(true) => tokio::task::yield_now().await,
                    Ok(false) => break,
                    Err(error) => {
                        tracing::warn!("old events could not be purged: {error}");
                        break;
                    }
                }
            }
        }
        tokio::time::sleep(UPKEEP).await;
    }
}

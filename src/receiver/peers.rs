//! The other receivers of the same store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::writer::Writer;
use crate::store::Attendance;

/// How often a receiver says that it is there. It counts for three times as long.
const INTERVAL: Duration = Duration::from_secs(15);

/// What is known of them.
#[derive(Debug)]
pub(super) struct Peers {
    receivers: AtomicU32,
    is_first: AtomicBool,
}

impl Peers {
    pub(super) fn new(attendance: Attendance) -> Arc<Self> {
        let Attendance { receivers, is_first } = attendance;
        Arc::new(Self { receivers: receivers.into(), is_first: is_first.into() })
    }

    /// How many receivers there are, with this one.
    pub(super) fn receivers(&self) -> u32 {
        self.receivers.load(Ordering::Relaxed).max(1)
    }

    /// Whether this one does what one of them does for all.
    pub(super) fn is_first(&self) -> bool {
        self.is_first.load(Ordering::Relaxed)
    }

    /// Keeps what is known up to date, until aborted.
    pub(super) async fn run(self: Arc<Self>, writer: Writer) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            match writer.attend().await {
                Ok(Attendance { receivers, is_first }) => {
                    self.receivers.store(receivers, Ordering::Relaxed);
                    self.is_first.store(is_first, Ordering::Relaxed);
                }
                Err(error) => tracing::debug!("other receivers are not known: {error}"),
            }
        }
    }
}

//! One apply at a time for a manifest and an installation.

use std::cell::Cell;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::domain::{ApiOrigin, ManifestName};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::frontend::Frontend;
use crate::store::{ManifestLock, Registry};

/// How often to look whether the lock is free.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// How often the holder says that it lives. A lock that nobody has renewed for three times as long is free.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(10);

/// The lock of a manifest. It ends with this value, or with the process.
pub struct ManifestLockGuard<'a> {
    registry: &'a dyn Registry,
    origin: ApiOrigin,
    name: ManifestName,
    renewed: Cell<Instant>,
}

/// Waits for the lock of a manifest, and says whom it waits for.
///
/// # Errors
/// When it is not free within `timeout`: who holds it, and since when. When the registry cannot be used, or it is interrupted.
pub fn lock_manifest<'a>(
    frontend: &impl Frontend,
    registry: &'a dyn Registry,
    origin: &ApiOrigin,
    name: &ManifestName,
    timeout: Duration,
) -> Result<ManifestLockGuard<'a>> {
    let started = Instant::now();
    let mut told = false;
    loop {
        let (actor, since, free_at) = match registry.lock_manifest(origin, name, Timestamp::now())? {
            ManifestLock::Granted => {
                let (origin, name, renewed) = (origin.clone(), name.clone(), Cell::new(Instant::now()));
                return Ok(ManifestLockGuard { registry, origin, name, renewed });
            }
            ManifestLock::HeldBy { actor, since, free_at } => (actor, since, free_at),
        };
        if started.elapsed() >= timeout {
            let message = format!("{actor} has been applying {name} since {since}");
            return Err(Error::new(ErrorKind::Store, message)
                .may_pass()
                .hint("run it again when that has ended, or wait longer with --lock-timeout"));
        }
        if !told {
            let free_at = free_at.map(|time| format!("; if that was killed, until {time:.0}")).unwrap_or_default();
            frontend.note(&format!("waiting for {actor}, who has been applying {name} since {since}{free_at}"));
            told = true;
        }
        let pause = LOCK_POLL_INTERVAL.min(timeout.saturating_sub(started.elapsed()));
        let slept = frontend.wait(async { tokio::time::sleep(pause).await })?;
        slept.ok_or_else(|| Error::interrupted("while waiting for another apply; nothing was changed"))?;
    }
}

impl ManifestLockGuard<'_> {
    /// Says that the holder lives, if it is time to. Should it have been taken for dead meanwhile, whoever has the lock now
    /// does no harm: intents are recorded before their requests.
    pub fn renew(&self) {
        if self.renewed.get().elapsed() < RENEWAL_INTERVAL {
            return;
        }
        self.renewed.set(Instant::now());
        match self.registry.renew_manifest_lock(&self.origin, &self.name) {
            Ok(true) => {}
            Ok(false) => tracing::warn!(manifest = %self.name, "the lock of the manifest was lost"),
            Err(error) => {
                tracing::warn!(manifest = %self.name, %error, "the lock of the manifest could not be renewed");
            }
        }
    }
}

impl Drop for ManifestLockGuard<'_> {
    fn drop(&mut self) {
        // If it fails, the lock ends by itself.
        if let Err(error) = self.registry.unlock_manifest(&self.origin, &self.name) {
            tracing::debug!(%error, "the lock of the manifest was not released");
        }
    }
}

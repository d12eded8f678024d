//! What a receiver reads again while it serves: on SIGHUP, and keys that others may rotate.

use std::time::{Duration, Instant};

use super::route::{self, MissingSecret};
use super::service::{FIRST_WAIT, Service};
use super::{keys, tell_of_unnamed};
use crate::receiver::Target;
use crate::store::TargetRecord;

/// How often keys are looked at that others may rotate.
const LOOK_AT_KEYS: Duration = Duration::from_secs(30);

impl Service<'_> {
    /// Looks whether somebody has rotated the keys, if that may have been done elsewhere.
    pub(super) fn look_at_keys(&mut self) {
        if !self.key_source.are_shared() || self.looked_at_keys.elapsed() < LOOK_AT_KEYS {
            return;
        }
        self.looked_at_keys = Instant::now();
        match self.key_source.reload() {
            Ok(keys) if keys.current != self.keys.current => {
                self.ctx.out().note("the key was rotated; deliveries to the former URL are taken until it expires");
                self.reload();
            }
            Ok(_) => {}
            Err(error) => tracing::debug!("the keys could not be looked at: {error}"),
        }
    }

    /// Reloads the keys, the secrets and the certificate. What cannot be read keeps its value.
    pub(super) fn reload(&mut self) {
        let out = self.ctx.out();
        match keys::luciq_secrets(self.ctx, self.args) {
            Ok(secrets) => self.secrets = secrets,
            Err(error) => out.warn(&format!("Luciq's secrets were not reloaded: {error}")),
        }
        let key = self.keys.current.clone();
        let read = self.key_source.reload().map(|keys| self.keys = keys);
        match keys::delivery_keys(&self.keys, &self.secrets) {
            Ok(delivery_keys) => self.replaceable.replace_keys(delivery_keys),
            Err(error) => out.warn(&format!("keys and secrets were not reloaded: {error}")),
        }
        match read {
            Ok(()) => out.note("reloaded the keys"),
            Err(error) => out.warn(&format!("the keys were not reloaded: {error}")),
        }
        if key != self.keys.current || self.resubscribe.is_some() {
            if let Err(error) = self.write_ready() {
                out.warn(&error.to_string());
            }
            self.subscribe_new_url(FIRST_WAIT);
        }
        self.reload_alerts();
        if self.args.forwarding.config.is_some() {
            self.reload_targets();
        }
        match self.replaceable.reread_certificate() {
            Ok(true) => {
                out.note("reloaded the certificate");
                self.told_of_certificate = None;
            }
            Ok(false) => {}
            Err(error) => out.warn(&format!("the certificate was not reloaded: {error}")),
        }
        // What was reloaded may be what kept deliveries from arriving.
        self.replaceable.check_itself();
    }

    /// Reads the targets again. If one of them is wrong, all stay as they were.
    fn reload_targets(&self) {
        let targets = route::targets(self.ctx, &self.args.forwarding, MissingSecret::Refuse);
        let replace = |targets: Vec<Target>| {
            let names: Vec<_> = targets.iter().map(|target| target.name.shown.clone()).collect();
            self.runtime.block_on(self.replaceable.replace_targets(targets)).map(|()| names)
        };
        match targets.and_then(replace) {
            Ok(names) => {
                self.ctx.out().note("reloaded the targets");
                self.tell_of_left(&names);
            }
            Err(error) => tracing::error!("the targets were not reloaded: {error}"),
        }
    }

    /// Warns of forwards to targets that are not among these.
    fn tell_of_left(&self, names: &[String]) {
        let records = self.ctx.existing_inbox().and_then(|inbox| match inbox {
            Some(inbox) => Ok(inbox.target_records()?),
            None => Ok(Vec::new()),
        });
        let left = |target: &TargetRecord| target.pending > 0 && !names.contains(&target.name);
        for target in records.unwrap_or_default().iter().filter(|target| left(target)) {
            tell_of_unnamed(self.ctx, target);
        }
    }

    /// Subscribes the URL of a new key. If that fails it is tried again after this time: the old URL is not taken for
    /// ever.
    pub(super) fn subscribe_new_url(&mut self, wait: Duration) {
        let errors = self.subscribe();
        self.resubscribe = (!errors.is_empty()).then(|| (Instant::now() + wait, wait));
        for error in errors {
            self.ctx.out().warn(&format!("the new URL is not subscribed yet: {error}"));
        }
    }
}

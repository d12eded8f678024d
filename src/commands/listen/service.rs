//! The receiver while it serves: its hooks, reloading on SIGHUP, and shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinError;

use super::args::{Args, SubscribeArgs};
use super::catching_up::{CatchUp, RunningCatchUp};
use super::monitoring::expiry_warning;
use super::printer::Printer;
use super::{bugfender_url, is_url_known, local_base, public_base};
use crate::commands::Report;
use crate::commands::ready_file::ReadyFile;
use crate::commands::removal::remove;
use crate::commands::units::count;
use crate::commands::{app_args, hook_args};
use crate::context::Context;
use crate::domain::{HookId, HookStatus, Secret, TargetUrl};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{self, HookChoice, RemovalOptions, SubscribeOptions, Subscriber};
use crate::platform::{self, ReloadSignals, ServiceState, StopSignals};
use crate::receiver::{Alerts, Depositor, Drained, INSTABUG_PATH, LUCIQ_PATH, Replaceable};
use crate::render::Log;
use crate::store::{Keys, ReceiverKeys};

/// How long to wait before checking again whether the reader accepts output.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How often dropped lines of the log are counted.
const COUNT_AGAIN: Duration = Duration::from_secs(10);

/// How often the expiry of the certificate is looked at.
const LOOK_AT_CERTIFICATE: Duration = Duration::from_secs(24 * 3600);

/// A second request to stop within this time counts as the first.
const SAME_WISH: Duration = Duration::from_millis(100);

/// How long to wait before a new URL is subscribed again; twice as long each time, and no longer than the second.
pub(super) const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 60);

/// A receiver that serves.
pub(super) struct Service<'a> {
    pub(super) ctx: &'a Context,
    pub(super) args: &'a Args,
    pub(super) runtime: &'a Runtime,
    pub(super) address: SocketAddr,
    /// That of the port for operators, if there is one.
    pub(super) admin_address: Option<SocketAddr>,
    /// That of the page with its token, if there is one.
    pub(super) page_url: Option<String>,
    pub(super) key_source: Box<dyn ReceiverKeys>,
    pub(super) keys: Keys,
    /// Luciq's.
    pub(super) secrets: Vec<Secret>,
    /// Requests to reload files (SIGHUP).
    pub(super) hangups: ReloadSignals,
    pub(super) ready_file: ReadyFile,
    /// When to try again to subscribe the URL of a new key, and how long that wait was.
    pub(super) resubscribe: Option<(Instant, Duration)>,
    pub(super) replaceable: Replaceable,
    pub(super) alerts: Alerts,
    /// The hooks that this run created.
    pub(super) hooks: Vec<HookId>,
    pub(super) stored: Arc<Notify>,
    pub(super) printer: Option<Printer<'a>>,
    /// How many dropped lines of the log were reported.
    pub(super) told_of_dropped: u64,
    /// When the keys were last looked at.
    pub(super) looked_at_keys: Instant,
    /// When the expiry of the certificate was last looked at.
    pub(super) told_of_certificate: Option<Instant>,
    /// Catching up, until it begins.
    pub(super) catch_up: Option<(CatchUp, Depositor)>,
}

impl Service<'_> {
    /// Announces the receiver, subscribes, serves until it is stopped, and drains.
    pub(super) fn stand(
        &mut self,
        mut signals: StopSignals,
        stop: oneshot::Sender<()>,
        serving: tokio::task::JoinHandle<Drained>,
    ) -> Report {
        // The receiver already serves: once it reports ready, its hooks exist too.
        let mut errors = self.subscribe();
        if errors.is_empty()
            && let Err(error) = self.announce()
        {
            errors.push(error);
        }
        let catching_up = if errors.is_empty() { self.start_catching_up(&mut errors) } else { None };
        if errors.is_empty() {
            self.wait(&mut signals);
        }
        if let Some(catching_up) = catching_up {
            catching_up.stop();
        }
        platform::notify_service_manager(ServiceState::Stopping);
        self.remove_ephemeral(&mut errors);
        // It would keep the receiver from ending.
        self.catch_up = None;
        // Sending fails only if the receiver has already stopped.
        let _ = stop.send(());
        let drained = self.runtime.block_on(async {
            tokio::select! {
                drained = serving => Some(drained),
                () = once_more(&mut signals) => None,
            }
        });
        self.print();
        tell_of_drained(drained, &mut errors);
        Report { errors, ..Report::nothing() }
    }

    /// Starts to catch up, now that its hooks are on record, which say with what.
    fn start_catching_up(&mut self, errors: &mut Vec<Error>) -> Option<RunningCatchUp> {
        let (catch_up, depositor) = self.catch_up.take()?;
        catch_up.start(depositor).map_err(|error| errors.push(error)).ok()
    }

    /// Removes the hooks that this run created, if that was asked for.
    fn remove_ephemeral(&mut self, errors: &mut Vec<Error>) {
        if !self.args.subscription.ephemeral || self.hooks.is_empty() {
            return;
        }
        // A signal right after the first belongs to it, and must not interrupt the removal too.
        self.runtime.block_on(async { tokio::time::sleep(SAME_WISH).await });
        self.ctx.discard_interruptions();
        // The receiver still serves meanwhile, so that events sent until the removal arrive.
        let hooks = std::mem::take(&mut self.hooks);
        let removed = format!("removed {}", count(hooks.len() as u64, "hook"));
        match self.remove_hooks(hooks) {
            Ok(failed) if failed.is_empty() => self.ctx.out().note(&removed),
            Ok(failed) => errors.extend(failed),
            Err(error) => errors.push(error),
        }
    }

    /// Waits until it is stopped; meanwhile prints stored events, if requested, and reloads files.
    fn wait(&mut self, signals: &mut StopSignals) {
        let stored = Arc::clone(&self.stored);
        loop {
            let mut heard = std::pin::pin!(stored.notified());
            // Heard from now on: what is stored while something is printed is not missed.
            heard.as_mut().enable();
            self.print();
            self.tell_of_dropped_lines();
            self.tell_of_certificate();
            self.look_at_keys();
            let resubscribe = self.resubscribe.map_or_else(Instant::now, |(at, _)| at);
            let next = self.runtime.block_on(async {
                tokio::select! {
                    _ = signals.next() => Next::End,
                    () = self.hangups.next() => Next::Reload,
                    () = tokio::time::sleep_until(resubscribe.into()), if self.resubscribe.is_some() => Next::Subscribe,
                    () = heard, if self.printer.is_some() => Next::Print,
                    // Events that could not be printed before, as the reader was slow.
                    () = tokio::time::sleep(LOOK_AGAIN), if self.printer.is_some() => Next::Print,
                    () = tokio::time::sleep(COUNT_AGAIN) => Next::Count,
                }
            });
            match next {
                Next::End => return,
                // A terminal that is closed ends this as it does everything, unless there is a certificate to read.
                Next::Reload
                    if self.ctx.is_interactive()
                        && self.args.limits.tls_cert.is_none()
                        && self.args.forwarding.config.is_none() =>
                {
                    return;
                }
                Next::Reload => self.reload(),
                Next::Subscribe => {
                    let wait = self.resubscribe.map_or(FIRST_WAIT, |(_, wait)| LONGEST_WAIT.min(wait * 2));
                    self.subscribe_new_url(wait);
                }
                Next::Print | Next::Count => {}
            }
        }
    }

    /// Says how many lines of the log were dropped since this was last said.
    fn tell_of_dropped_lines(&mut self) {
        let dropped = self.ctx.out().log().map_or(0, Log::dropped);
        if dropped > self.told_of_dropped {
            let lines = count(dropped - self.told_of_dropped, "line");
            self.ctx.out().warn(&format!("{lines} of this log were dropped, as nothing read them"));
            self.told_of_dropped = dropped;
        }
    }

    /// Warns of a certificate that has expired or soon will: at the start, when it was reloaded, and daily.
    fn tell_of_certificate(&mut self) {
        if self.told_of_certificate.is_some_and(|at| at.elapsed() < LOOK_AT_CERTIFICATE) {
            return;
        }
        self.told_of_certificate = Some(Instant::now());
        let expiry = self.replaceable.certificate_expiry();
        if let Some(warning) = expiry.and_then(|expiry| expiry_warning(expiry, Timestamp::now())) {
            self.ctx.out().warn(&warning);
        }
    }

    /// Prints stored events. The receiver keeps running after the reader closes the pipe.
    fn print(&mut self) {
        let Some(printer) = &mut self.printer else { return };
        loop {
            match printer.step_while(platform::stdout_is_writable) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.ctx.out().warn(&format!("events are stored but no longer printed: {error}"));
                    self.printer = None;
                    return;
                }
            }
        }
    }

    fn announce(&self) -> Result<()> {
        let out = self.ctx.out();
        self.write_ready()?;
        platform::notify_service_manager(ServiceState::Ready);
        // The key is for the person at the terminal, not for a log.
        if self.ctx.is_interactive() {
            let url = bugfender_url(self.args, self.address, &self.keys.current);
            out.note(&format!("listening; Bugfender delivers to {url}"));
        } else {
            let base = local_base(self.args, self.address);
            let port = if is_url_known(self.args) { String::new() } else { format!(" --listen {}", self.address) };
            out.note(&format!(
                "listening on {base}; `bugfender-hooks listen --show-url{port}` with the same flags shows where \
                 Bugfender delivers"
            ));
        }
        if let Some(address) = self.admin_address {
            out.note(&format!("/healthz, /readyz and /metrics are at http://{address}"));
            // What is logged is read by more people than may look.
            match self.page_url.as_ref().filter(|_| self.ctx.is_interactive()) {
                Some(url) => out.note(&format!("the page is at {url}")),
                None if self.args.monitoring.ui => out.note("the page is there too; its address is in the ready file"),
                None => {}
            }
        }
        let plain = self.args.limits.tls_cert.is_none() && !self.args.limits.trust_proxy;
        if plain && !self.address.ip().is_loopback() {
            out.warn("plain http to other machines: events and the key can be read in transit; use --tls-cert, or a proxy and --trust-proxy");
        }
        Ok(())
    }

    pub(super) fn write_ready(&self) -> Result<()> {
        let url = local_base(self.args, self.address);
        let bugfender_url = bugfender_url(self.args, self.address, &self.keys.current);
        let base = public_base(self.args, self.address);
        let (luciq_url, instabug_url) = (format!("{base}{LUCIQ_PATH}"), format!("{base}{INSTABUG_PATH}"));
        let admin_url = self.admin_address.map_or_else(|| url.clone(), |address| format!("http://{address}"));
        let urls = json!({
            "url": url, "bugfender_url": bugfender_url, "luciq_url": luciq_url, "instabug_url": instabug_url,
            "admin_url": admin_url, "ui_url": self.page_url,
        });
        self.ready_file.write(urls)
    }

    /// Subscribes to the requested events, and returns the failures.
    pub(super) fn subscribe(&mut self) -> Vec<Error> {
        if !self.args.subscription.subscribe {
            return Vec::new();
        }
        let errors = self.make_hooks().unwrap_or_else(|error| vec![error]);
        // The key is in the URL that they are about, and this may be a log.
        errors.iter().map(|error| error.hiding(self.keys.current.expose())).collect()
    }

    /// Makes the hooks, and notes those that were not there before.
    fn make_hooks(&mut self) -> Result<Vec<Error>> {
        let SubscribeArgs { app_ids, events, label, .. } = &self.args.subscription;
        let target_url: TargetUrl = bugfender_url(self.args, self.address, &self.keys.current).parse()?;
        let app_ids = app_args::app_ids(self.ctx, app_ids)?;
        let wanted = hook_args::subscriptions(self.ctx, &app_ids, events, &target_url);
        if let Some(first) = wanted.first() {
            hooks::check_target(self.ctx, first, &public_base(self.args, self.address))?;
        }
        let registry = self.ctx.registry()?;
        let options = SubscribeOptions { label: label.as_ref(), ..SubscribeOptions::default() };
        let (done, errors) = Subscriber::new(self.ctx, &*registry, &|| self.ctx.api(), options).subscribe_each(&wanted);
        for hook in done.iter().filter(|hook| hook.record.status == HookStatus::Active) {
            let what = if hook.created { "subscribed" } else { "was already subscribed" };
            self.ctx.out().note(&format!("{} {what}", hook.record.name()));
        }
        let mut errors = errors;
        // Several events may fail with the same message.
        errors.dedup_by_key(|error| error.to_string());
        self.hooks.extend(done.iter().filter(|hook| hook.created).filter_map(|hook| hook.record.hook_id));
        Ok(errors)
    }

    /// Removes these hooks, where a missing one counts as removed, and returns the failures.
    fn remove_hooks(&self, hooks: Vec<HookId>) -> Result<Vec<Error>> {
        let registry = self.ctx.registry()?;
        let targets = hooks::pick_settled(self.ctx, &*registry, self.ctx.origin(), &HookChoice::Ids(hooks))?;
        let options = RemovalOptions { by_id: true, ignore_missing: true };
        Ok(remove(self.ctx, &*registry, targets, options)?.split().1)
    }
}

/// Says what was cut off.
fn tell_of_drained(drained: Option<Result<Drained, JoinError>>, errors: &mut Vec<Error>) {
    match drained {
        None => {
            errors.insert(
                0,
                Error::interrupted("before everything in flight had finished; every stored event is safe"),
            );
        }
        Some(Err(error)) => errors.push(Error::new(ErrorKind::Other, format!("the receiver failed: {error}"))),
        Some(Ok(Drained { calls: 0, forwards: 0 })) => {}
        Some(Ok(Drained { calls, forwards })) => errors.push(
            Error::new(
                ErrorKind::Other,
                format!(
                    "stopped after --drain-timeout with {calls} requests, which got no response, and {forwards} forwards in flight"
                ),
            )
            .hint("these forwards are retried at the next start"),
        ),
    }
}

/// What the receiver does next.
enum Next {
    End,
    Reload,
    Subscribe,
    Print,
    Count,
}

/// Waits for a second request to stop. One right after the first is the same: a terminal and `timeout` both send it.
async fn once_more(signals: &mut StopSignals) {
    let asked = Instant::now();
    loop {
        signals.next().await;
        if asked.elapsed() > SAME_WISH {
            return;
        }
    }
}

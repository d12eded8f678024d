//! `listen`: the receiver, with its URL, its hooks and its end.

mod args;
mod route;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, oneshot};
use url::Url;

pub use self::args::Args;

use self::args::{HandingOnArgs, LimitArgs, SubscribeArgs};
use super::Report;
use super::events::Tail;
use super::hook_args::{self, read_secret, write_ready_file};
use super::subscribe::{check_target, subscribe_each};
use super::unsubscribe::remove_hooks;
use crate::config::environment;
use crate::context::{Context, interrupted};
use crate::domain::delivery::Gate;
use crate::domain::{HookId, Redaction, Secret, TargetUrl};
use crate::error::{Error, ErrorKind, Result};
use crate::platform::{self, ReloadSignals, ServiceState, StopSignals};
use crate::receiver::{
    self, Access, BUGFENDER_PATH, Drained, INSTABUG_PATH, KeyFile, Keys, Limits, Options, Receiver, TlsFiles,
};
use crate::render::Text;

/// The most threads that serve connections: storing is what takes time, and one thread does it.
const MAX_THREADS: usize = 4;

/// How long a second request to end is taken for the first.
const SAME_WISH: Duration = Duration::from_millis(500);

/// How long to wait before looking again whether somebody reads what is printed.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// File handles that are neither for connections nor for handing on.
const OTHER_FILES: usize = 64;

/// File handles that an attempt to hand on may take: a socket, or a command's process and pipes.
const FILES_OF_ATTEMPT: usize = 4;

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let key_file = KeyFile::at(match &args.key_file {
        Some(path) => path.clone(),
        None => ctx.settings().store_path()?.path().with_extension("receiver-key"),
    });
    if args.rotate_key {
        return rotate(ctx, args, &key_file);
    }
    let keys = key_file.load()?;
    if args.show_url {
        return Ok(url_report(args, &keys));
    }
    let options = options(ctx, args, &keys)?;
    let runtime = runtime()?;
    let signals = runtime.block_on(async { StopSignals::listen() })?;
    let listener = listener(ctx, &runtime, args)?;
    let address = listener.local_addr()?;
    let (receiver, reload) = {
        let _within = runtime.enter();
        // A terminal that is closed ends this as it does everything, unless there is a certificate to read again.
        let wanted = args.limits.tls_cert.is_some() || !ctx.is_interactive();
        let reload = if wanted { Some(ReloadSignals::listen()?) } else { None };
        (Receiver::open(&*ctx.store()?, options)?, reload)
    };
    for (shown, waiting) in receiver.unnamed() {
        ctx.out().warn(&format!("forwards that wait for {shown}, which is no target this time: {waiting}"));
    }
    let stored = receiver.stored();
    let printer = if args.print { Some(Tail::from_now(ctx, ctx.store()?.inbox()?)?) } else { None };
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = runtime.spawn(receiver.serve(listener, async { drop(stopped.await) }, reload));
    let mut service = Service { ctx, args, runtime: &runtime, address, key: keys.current, stored, printer };
    let ended = service.stand(signals, stop, serving);
    // What did not end in time is left behind.
    runtime.shutdown_background();
    Ok(ended)
}

/// Makes a new key, and says what is to be done about the old one.
fn rotate(ctx: &Context, args: &Args, key_file: &KeyFile) -> Result<Report> {
    let until = Timestamp::now().checked_add(args.keep_old_key).map_err(|_| {
        Error::usage("--keep-old-key: the time never comes").hint("write a span such as 1d, or 0 to take it no more")
    })?;
    // Whole seconds are enough for a person to read.
    let until = Timestamp::from_second(until.as_second()).unwrap_or(until);
    let keys = key_file.rotate(until)?;
    ctx.out().note(&match keys.former.last() {
        Some((_, until)) => format!(
            "the next start of listen takes this key, and the old one until {until}: \
             by then, subscribe this URL and unsubscribe the old one"
        ),
        None => {
            "the next start of listen takes this key, and no other: subscribe this URL, and unsubscribe the old one"
                .to_owned()
        }
    });
    Ok(url_report(args, &keys))
}

fn url_report(args: &Args, keys: &Keys) -> Report {
    Report::of(Text(format!("{}\n", bugfender_url(args, args.listen, &keys.current))))
}

/// A receiver that serves.
struct Service<'a> {
    ctx: &'a Context,
    args: &'a Args,
    runtime: &'a Runtime,
    address: SocketAddr,
    key: Secret,
    stored: Arc<Notify>,
    printer: Option<Tail<'a>>,
}

impl Service<'_> {
    /// Tells whom it concerns, subscribes, waits for the end, and ends well.
    fn stand(
        &mut self,
        mut signals: StopSignals,
        stop: oneshot::Sender<()>,
        serving: tokio::task::JoinHandle<Drained>,
    ) -> Report {
        // It serves already; who is told that it is ready can count on the hooks too.
        let (hooks, mut errors) = self.subscribe().unwrap_or_else(|error| (Vec::new(), vec![error]));
        if errors.is_empty()
            && let Err(error) = self.announce()
        {
            errors.push(error);
        }
        if errors.is_empty() {
            self.wait(&mut signals);
        }
        platform::notify_service_manager(ServiceState::Stopping);
        if self.args.subscription.ephemeral && !hooks.is_empty() {
            // While it still serves: what is sent until then arrives.
            match remove_hooks(self.ctx, hooks) {
                Ok(report) => errors.extend(report.errors),
                Err(error) => errors.push(error),
            }
        }
        // It has ended by itself if nobody hears this.
        let _ = stop.send(());
        let drained = self.runtime.block_on(async {
            tokio::select! {
                drained = serving => Some(drained),
                () = once_more(&mut signals) => None,
            }
        });
        self.print();
        match drained {
            None => {
                errors.insert(0, interrupted("before all that was under way was finished; every event stored is safe"));
            }
            Some(Err(error)) => errors.push(Error::new(ErrorKind::Other, format!("the receiver failed: {error}"))),
            Some(Ok(Drained { calls: 0, forwards: 0 })) => {}
            Some(Ok(Drained { calls, forwards })) => errors.push(
                Error::new(
                    ErrorKind::Other,
                    format!(
                        "cut off after --drain-timeout: {calls} calls, which got no answer, and {forwards} forwards"
                    ),
                )
                .hint("forwards are tried again at the next start"),
            ),
        }
        Report { errors, ..Report::nothing() }
    }

    /// Waits for the end; meanwhile prints what is stored, if it is to.
    fn wait(&mut self, signals: &mut StopSignals) {
        let stored = Arc::clone(&self.stored);
        loop {
            let mut heard = std::pin::pin!(stored.notified());
            // Heard from now on: what is stored while something is printed is not missed.
            heard.as_mut().enable();
            self.print();
            let ended = self.runtime.block_on(async {
                tokio::select! {
                    _ = signals.next() => true,
                    () = heard, if self.printer.is_some() => false,
                    // What could not be printed a moment ago, as nobody read.
                    () = tokio::time::sleep(LOOK_AGAIN), if self.printer.is_some() => false,
                }
            });
            if ended {
                return;
            }
        }
    }

    /// Prints what was stored. Events are received on when nobody reads it any more.
    fn print(&mut self) {
        let Some(printer) = &mut self.printer else { return };
        loop {
            match printer.step_while(platform::somebody_reads) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.ctx.out().warn(&format!("events are not printed any more, but stored all the same: {error}"));
                    self.printer = None;
                    return;
                }
            }
        }
    }

    fn announce(&self) -> Result<()> {
        let out = self.ctx.out();
        let url = bugfender_url(self.args, self.address, &self.key);
        let base = local_base(self.args, self.address);
        if let Some(path) = &self.args.ready_file {
            let instabug_url = public_base(self.args, self.address) + INSTABUG_PATH;
            let pid = std::process::id();
            write_ready_file(
                path,
                &json!({"url": base, "bugfender_url": url, "instabug_url": instabug_url, "pid": pid}),
            )?;
        }
        platform::notify_service_manager(ServiceState::Ready);
        // The key is for the person at the terminal, not for a log.
        if self.ctx.is_interactive() {
            out.note(&format!("listening; Bugfender delivers to {url}"));
        } else {
            out.note(&format!(
                "listening on {base}; `bugfender-hooks listen --show-url`, with the same flags, shows where Bugfender delivers"
            ));
        }
        let plain = self.args.limits.tls_cert.is_none() && !self.args.limits.trust_proxy;
        if plain && !self.address.ip().is_loopback() {
            out.warn("plain http to other machines: events and the key can be read on their way; use --tls-cert, or a proxy and --trust-proxy");
        }
        Ok(())
    }

    /// Makes the hooks that are asked for; gives those that were not there before.
    fn subscribe(&self) -> Result<(Vec<HookId>, Vec<Error>)> {
        let SubscribeArgs { subscribe, app_id, events, label, .. } = &self.args.subscription;
        if !subscribe {
            return Ok((Vec::new(), Vec::new()));
        }
        let target_url: TargetUrl = bugfender_url(self.args, self.address, &self.key).parse()?;
        let app_id = hook_args::app_id(self.ctx, *app_id)?;
        let wanted = hook_args::subscriptions(self.ctx, app_id, events, &target_url);
        if let Some(first) = wanted.first() {
            check_target(self.ctx, first)?;
        }
        let (done, errors) = subscribe_each(self.ctx, &wanted, label.as_ref(), false)?;
        for hook in &done {
            let what = if hook.created { "subscribed" } else { "was subscribed already" };
            self.ctx.out().note(&format!("{} {what}", hook.record.name()));
        }
        let mut errors = errors;
        // For three events there may be three times the same to say.
        errors.dedup_by_key(|error| error.to_string());
        Ok((done.iter().filter(|hook| hook.created).filter_map(|hook| hook.record.hook_id).collect(), errors))
    }
}

/// Waits for somebody to ask again. What comes at once is the same wish: a terminal and `timeout` both send it.
async fn once_more(signals: &mut StopSignals) {
    let asked = Instant::now();
    loop {
        signals.next().await;
        if asked.elapsed() > SAME_WISH {
            return;
        }
    }
}

fn options(ctx: &Context, args: &Args, keys: &Keys) -> Result<Options> {
    let LimitArgs { allow_from, trust_proxy, tls_cert, tls_key, max_body, header_timeout, body_timeout, .. } =
        &args.limits;
    let files = tls_cert.clone().zip(tls_key.clone());
    let redaction = Redaction::joined(args.redact.iter().cloned());
    Ok(Options {
        gate: Gate::new(&keys.current, instabug_secrets(ctx, args)?)?.with_former_keys(&keys.former),
        access: Access { allow_from: allow_from.clone(), trust_proxy: *trust_proxy },
        limits: Limits {
            max_body: usize::try_from(*max_body).unwrap_or(usize::MAX),
            header_timeout: *header_timeout,
            body_timeout: *body_timeout,
            max_connections: max_connections(args),
            ..Limits::default()
        },
        redaction: (!redaction.is_empty()).then_some(redaction),
        tls: files.map(|(certificate, key)| TlsFiles { certificate, key }),
        targets: route::targets(ctx, &args.handing_on)?,
        policy: route::policy(&args.handing_on),
        retention: args.retention,
        drain_timeout: args.drain_timeout,
    })
}

/// As many as are asked for and the system has file handles for.
fn max_connections(args: &Args) -> usize {
    let wanted = usize::try_from(args.limits.max_connections).unwrap_or(usize::MAX);
    let HandingOnArgs { forward_to, routes, exec, max_in_flight, .. } = &args.handing_on;
    let targets = forward_to.len() + routes.len() + exec.len();
    let others = OTHER_FILES + FILES_OF_ATTEMPT * usize::from(*max_in_flight) * targets;
    let possible = platform::raise_open_files().map_or(usize::MAX, |files| files.saturating_sub(others).max(16));
    wanted.min(possible)
}

fn instabug_secrets(ctx: &Context, args: &Args) -> Result<Vec<Secret>> {
    let what = "Instabug's secret";
    if !args.instabug_secret_file.is_empty() {
        return args.instabug_secret_file.iter().map(|path| read_secret(what, path)).collect();
    }
    let text = ctx.environment().text(environment::INSTABUG_SECRET)?.unwrap_or_default();
    let secrets = text.split(',').filter(|secret| !secret.trim().is_empty());
    secrets.map(|secret| Secret::parse(environment::INSTABUG_SECRET, secret)).collect()
}

fn runtime() -> Result<Runtime> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let log = tracing::dispatcher::get_default(Clone::clone);
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .on_thread_start(move || {
            // For as long as the thread lives: what it has to say goes where the command's own words go.
            std::mem::forget(tracing::dispatcher::set_default(&log));
        })
        .build()?;
    Ok(runtime)
}

/// The socket that the service manager hands over, or one of its own.
fn listener(ctx: &Context, runtime: &Runtime, args: &Args) -> Result<TcpListener> {
    if let Some(inherited) = platform::inherited_listener()? {
        inherited.set_nonblocking(true)?;
        ctx.out().note("listening on the socket of the service manager");
        return Ok(runtime.block_on(async { TcpListener::from_std(inherited) })?);
    }
    runtime.block_on(receiver::bind(args.listen))
}

/// How the receiver is reached on this machine.
fn local_base(args: &Args, address: SocketAddr) -> String {
    let scheme = if args.limits.tls_cert.is_some() { "https" } else { "http" };
    format!("{scheme}://{address}")
}

/// How it is reached from outside.
fn public_base(args: &Args, address: SocketAddr) -> String {
    let shown = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
    args.subscription.public_url.as_ref().map_or_else(|| local_base(args, address), shown)
}

fn bugfender_url(args: &Args, address: SocketAddr, key: &Secret) -> String {
    format!("{}{BUGFENDER_PATH}{}", public_base(args, address), key.expose())
}

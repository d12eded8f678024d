//! `listen`: the receiver, its URL, its hooks and its shutdown.

mod alerting;
mod args;
mod catching_up;
mod keys;
mod monitoring;
mod printer;
mod reloading;
mod route;
mod service;
mod silence_watch;
mod target_file;
mod watch_args;

use std::net::SocketAddr;
use std::time::Instant;

use serde::Serialize;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use url::Url;

pub use self::args::{Args, IN_SHORT_HELP};

use self::args::LimitArgs;
use self::catching_up::CatchUp;
use self::printer::Printer;
use self::route::MissingSecret;
use self::service::Service;
use super::Report;
use super::ready_file::ReadyFile;
use super::units::count;
use crate::context::Context;
use crate::domain::delivery::DeliveryKeys;
use crate::domain::{Redaction, Secret};
use crate::error::{Error, Result};
use crate::platform::{self, ReloadSignals, StopSignals};
use crate::receiver::{
    self, Access, BUGFENDER_PATH, DroppedLines, Keep, Limits, Receiver, ReceiverOptions, Target, TlsFiles,
};
use crate::render::Log;
use crate::render::{Cell, One, Row};
use crate::store::{Keys, ReceiverKeys, TargetRecord};

/// The most threads that serve connections: storing is what takes time, and one thread does it.
const MAX_THREADS: usize = 4;

/// File handles that are neither for connections nor for forwarding.
const OTHER_FILES: usize = 64;

/// File handles that an attempt may take: a socket, or a command's process and pipes.
const FILES_OF_ATTEMPT: usize = 4;

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    if args.forwarding.config.is_some() && args.forwarding.reads_stdin() {
        return Err(Error::usage(
            "with --config a target's URL cannot come from standard input, as it is read again on SIGHUP",
        )
        .hint("give the URL in a file, as @FILE"));
    }
    if args.forwarding.check {
        return checked(ctx, args);
    }
    if args.show_url {
        check_reachable(ctx, args)?;
    }
    if args.rotate_key {
        return Ok(url_report(args, &keys::rotate(ctx, args)?));
    }
    let key_source = keys::source(ctx, args)?;
    // Before a new key is made for a store that is not there.
    let new_inbox = if args.show_url { None } else { new_inbox(ctx, args)? };
    let keys = key_source.load()?;
    if args.show_url {
        return Ok(url_report(args, &keys));
    }
    serve(ctx, args, (key_source, keys), new_inbox)
}

/// Receives until it is stopped.
fn serve(
    ctx: &Context,
    args: &Args,
    (key_source, keys): (Box<dyn ReceiverKeys>, Keys),
    new_inbox: Option<String>,
) -> Result<Report> {
    let secrets = keys::luciq_secrets(ctx, args)?;
    let mut options = options(ctx, args, keys::delivery_keys(&keys, &secrets)?)?;
    // The commands of --exec run as the same user, and must not find the keys in this process.
    platform::hide_memory();
    let catch_up = CatchUp::prepare(ctx, args, &options.alerts)?;
    let ready_file = ReadyFile::prepare(args.ready_file.clone());
    let runtime = runtime()?;
    let signals = runtime.block_on(async { StopSignals::listen() })?;
    let listeners = listeners(ctx, &runtime, args)?;
    let Some(address) = listeners.first().map(TcpListener::local_addr).transpose()? else {
        return Err(Error::usage("there is no socket to listen on"));
    };
    let (admin, admin_address) = monitoring::listener(&runtime, args)?.unzip();
    options.admin = admin;
    options.page = monitoring::page(ctx, args, admin_address, options.self_check.as_ref())?;
    let page_url =
        options.page.as_ref().zip(admin_address).map(|(page, address)| page.address(&format!("http://{address}")));
    let (outcomes, feed) = printer::feed(ctx, args).unzip();
    options.outcomes = outcomes;
    let alerts = options.alerts.clone();
    let (receiver, hangups) = {
        let _within = runtime.enter();
        let hangups = ReloadSignals::listen()?;
        (Receiver::open(&*ctx.store()?, options)?, hangups)
    };
    if let Some(place) = new_inbox {
        ctx.say_new("inbox", &place);
    }
    tell_of_targets(ctx, &receiver);
    let (stored, replaceable) = (receiver.stored(), receiver.replaceable());
    let catch_up = catch_up.map(|catch_up| (catch_up, receiver.depositor()));
    let printer = Printer::start(ctx, args, feed)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = runtime.spawn(receiver.serve(listeners, async { drop(stopped.await) }));
    let mut service = Service {
        ctx,
        args,
        runtime: &runtime,
        address,
        admin_address,
        page_url,
        key_source,
        keys,
        secrets,
        hangups,
        ready_file,
        resubscribe: None,
        replaceable,
        alerts,
        hooks: Vec::new(),
        stored,
        printer,
        told_of_dropped: 0,
        looked_at_keys: Instant::now(),
        told_of_certificate: None,
        catch_up,
    };
    let ended = service.stand(signals, stop, serving);
    // Tasks that did not finish in time are dropped.
    runtime.shutdown_background();
    Ok(ended)
}

/// Warns of targets that get nothing.
fn tell_of_targets(ctx: &Context, receiver: &Receiver) {
    receiver.unnamed().for_each(|target| tell_of_unnamed(ctx, target));
    for TargetRecord { name, .. } in receiver.paused() {
        ctx.out().warn(&format!("{name} is paused: `bugfender-hooks targets resume` resumes it"));
    }
}

/// Warns of what is pending for a target of an earlier run.
fn tell_of_unnamed(ctx: &Context, TargetRecord { name, pending, .. }: &TargetRecord) {
    ctx.out().warn(&format!("forwards pending for {name}, which is not a target of this run: {pending}"));
}

/// Checks the targets, and the endpoint for alerts, without receiving.
fn checked(ctx: &Context, args: &Args) -> Result<Report> {
    let targets = route::targets(ctx, &args.forwarding, MissingSecret::Pretend)?;
    alerting::endpoint(ctx, &args.watching)?;
    let file = args.forwarding.config.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    ctx.out().note(&format!("{file} is valid: {}", count(targets.len() as u64, "target")));
    Ok(Report::nothing())
}

/// Where the inbox will be made, if there is none.
fn new_inbox(ctx: &Context, args: &Args) -> Result<Option<String>> {
    let store = ctx.store()?;
    if args.subscription.subscribe && store.existing_registry(None)?.is_none() {
        ctx.allow_new("registry", &store.registry_place())?;
    }
    if store.existing_inbox()?.is_some() {
        return Ok(None);
    }
    ctx.allow_new("inbox", &store.inbox_place())?;
    Ok(Some(store.inbox_place()))
}

/// Rejects a URL that is not known yet, and warns of one that means every address.
fn check_reachable(ctx: &Context, args: &Args) -> Result<()> {
    if !is_url_known(args) {
        return Err(Error::usage("with port 0 the URL is known only while the receiver runs: it is in the ready file")
            .hint("give --public-url, or the --listen address with its port"));
    }
    if args.subscription.public_url.is_none() && args.listen.ip().is_unspecified() {
        ctx.out().warn(&format!(
            "{} means every address of this machine: give the URL that reaches it from outside with --public-url",
            args.listen.ip()
        ));
    }
    Ok(())
}

/// Whether Bugfender's URL is known before the receiver runs: with port 0 the system chooses the port.
fn is_url_known(args: &Args) -> bool {
    args.subscription.public_url.is_some() || args.listen.port() != 0
}

/// The URL that Bugfender delivers to, with its key.
#[derive(Serialize)]
struct UrlRow {
    url: String,
}

impl Row for UrlRow {
    const FIELDS: &'static [&'static str] = &["url"];
    const HEADERS: &'static [&'static str] = &["URL"];

    fn cells(&self) -> Vec<Cell> {
        vec![self.url.as_str().into()]
    }

    fn id(&self) -> Option<String> {
        Some(self.url.clone())
    }
}

fn url_report(args: &Args, keys: &Keys) -> Report {
    Report::of(One(UrlRow { url: bugfender_url(args, args.listen, &keys.current) }))
}

fn options(ctx: &Context, args: &Args, delivery_keys: DeliveryKeys) -> Result<ReceiverOptions> {
    let LimitArgs { allow_from, trust_proxy, tls_cert, tls_key, max_body, header_timeout, body_timeout, .. } =
        &args.limits;
    let files = tls_cert.clone().zip(tls_key.clone());
    let targets = route::targets(ctx, &args.forwarding, MissingSecret::Make)?;
    let redaction = Redaction::joined(args.redact.iter().cloned());
    Ok(ReceiverOptions {
        delivery_keys,
        access: Access { allow_from: allow_from.clone(), trust_proxy: *trust_proxy },
        admin: None,
        page: None,
        admin_hosts: monitoring::hosts(args),
        limits: Limits {
            max_body: usize::try_from(*max_body).unwrap_or(usize::MAX),
            header_timeout: *header_timeout,
            body_timeout: *body_timeout,
            max_connections: max_connections(args, &targets),
            ..Limits::default()
        },
        redaction: (!redaction.is_empty()).then_some(redaction),
        tls: files.map(|(certificate, key)| TlsFiles { certificate, key }),
        targets,
        policy: route::policy(&args.forwarding),
        dedupe_window: args.dedupe_window,
        keep: Keep { retention: args.retention, max_size: args.max_size, reserve: args.reserve },
        drain_timeout: args.drain_timeout,
        dropped_lines: dropped_lines(ctx),
        outcomes: None,
        self_check: monitoring::self_check(ctx, args)?,
        alerts: alerting::alerts(ctx, &args.watching)?,
    })
}

/// Counts the lines of the log that were dropped.
fn dropped_lines(ctx: &Context) -> DroppedLines {
    let log = ctx.out().log().cloned();
    Box::new(move || log.as_ref().map_or(0, Log::dropped))
}

/// The number of connections requested, limited by the file handles that the system allows.
fn max_connections(args: &Args, targets: &[Target]) -> usize {
    let wanted = usize::try_from(args.limits.max_connections).unwrap_or(usize::MAX);
    let attempts: usize = targets.iter().map(|target| target.policy.max_in_flight).sum();
    let others = OTHER_FILES + FILES_OF_ATTEMPT * attempts;
    let possible = platform::raise_open_files().map_or(usize::MAX, |files| files.saturating_sub(others).max(16));
    wanted.min(possible)
}

fn runtime() -> Result<Runtime> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let log = tracing::dispatcher::get_default(Clone::clone);
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .on_thread_start(move || {
            // While the thread runs, its logs go where those of the command go.
            std::mem::forget(tracing::dispatcher::set_default(&log));
        })
        .build()?;
    Ok(runtime)
}

/// The socket that the service manager passed, or a new one.
fn listeners(ctx: &Context, runtime: &Runtime, args: &Args) -> Result<Vec<TcpListener>> {
    let inherited = platform::inherited_listeners().map_err(|error| {
        Error::usage(error.to_string())
            .hint("give the service TCP sockets only, with ListenStream=ADDRESS:PORT")
            .source(error)
    })?;
    if inherited.is_empty() {
        return Ok(vec![runtime.block_on(receiver::bind(args.listen))?]);
    }
    let mut addresses = Vec::new();
    for listener in &inherited {
        listener.set_nonblocking(true)?;
        addresses.push(listener.local_addr()?.to_string());
    }
    ctx.out().note(&format!("listening on the sockets of the service manager: {}", addresses.join(", ")));
    runtime.block_on(async { inherited.into_iter().map(|listener| Ok(TcpListener::from_std(listener)?)).collect() })
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

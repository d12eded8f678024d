//! `ui`: the page, served by a process of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueHint;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::Report;
use super::calls::test_samples;
use super::input::read_secret;
use super::ready_file::ReadyFile;
use super::recorded_hooks::RecordedHooks;
use super::units::{address, host_name};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::http::{HeaderName, ServedHosts};
use crate::platform::StopSignals;
use crate::ui::{AccessRule, AllowedHost, PageOptions, ReplayClients, SelfCheckView, WebPage};

/// Show events, targets and hooks in a browser
///
/// Serves a page on the store, beside any number of receivers, until Ctrl-C. Standard output gives the address: whoever
/// opens it with its token may look, and unless it is --read-only retry, replay and delete events, read the quarantine
/// again, and pause, test and drop targets. Each change is logged with who made it. A browser in which nobody opens or
/// changes anything for 12 hours is signed out.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The address to serve on; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4002", value_parser = address)]
    listen: SocketAddr,

    /// Open the page in a browser
    #[arg(long)]
    open: bool,

    /// Let nothing be changed from the page
    #[arg(long)]
    read_only: bool,

    /// Serve it under this path, as a proxy passes it on, such as /hooks
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true, value_parser = base_path)]
    base_path: String,

    /// Serve it under this host name too, not only under IP addresses and localhost; may be repeated
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    host: Vec<String>,

    /// Let events be replayed to this host, or host and port; may be repeated
    #[arg(long = "allow-target", value_name = "HOST[:PORT]")]
    allowed_targets: Vec<AllowedHost>,

    /// Ask for the password in this file; needed on other addresses than this machine's own
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    password_file: Option<PathBuf>,

    /// Let a proxy in front sign people in, and say who they are in this header; nobody else may reach the address
    #[arg(long, value_name = "NAME", conflicts_with = "password_file")]
    user_header: Option<HeaderName>,

    /// Write {"url", "pid"} to this file once it serves; the URL has the token
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    ready_file: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  bugfender-hooks ui --open
  bugfender-hooks ui --allow-target 127.0.0.1:3000
  bugfender-hooks ui --listen 0.0.0.0:4002 --password-file page.txt --host hooks.internal
  bugfender-hooks ui --base-path /hooks --user-header X-Forwarded-User --read-only";

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let access = access(args)?;
    let store = ctx.store()?;
    if store.existing_inbox()?.is_none() {
        ctx.allow_new("inbox", &store.inbox_place())?;
        ctx.say_new("inbox", &store.inbox_place());
    }
    let (tell, mut changes) = mpsc::unbounded_channel::<String>();
    let page = WebPage::open(PageOptions {
        store: Arc::from(ctx.store()?),
        read_only: args.read_only,
        base_path: args.base_path.clone(),
        hosts: ServedHosts::named(args.host.iter().cloned()),
        access,
        allowed_hosts: args.allowed_targets.clone(),
        clients: ReplayClients { roots: ctx.roots() },
        sample: Box::new(test_samples(ctx)),
        self_check: Box::new(|| SelfCheckView::OfReceiver),
        hooks: Box::new(RecordedHooks::new(ctx.store()?, ctx.origin().clone())),
        changes: Box::new(move |change| {
            // Fails only when the page is not served any longer.
            let _ = tell.send(change.to_owned());
        }),
    })?;
    ctx.block_on(async {
        let mut signals = StopSignals::listen()?;
        let ready_file = ReadyFile::prepare(args.ready_file.clone());
        let listener = bind(args.listen).await?;
        let base = format!("http://{}", reachable(listener.local_addr()?));
        let url = page.address(&base);
        ready_file.write(json!({"url": url}))?;
        ctx.out().raw(&format!("{url}\n"))?;
        ctx.out().note("serving until Ctrl-C; open this address in a browser");
        if args.open && open::that_detached(page.address_to_open(&base)?).is_err() {
            ctx.out().warn("no browser could be opened: open the address yourself");
        }
        let stop = async move {
            let _ = signals.next().await;
        };
        let mut serving = std::pin::pin!(page.serve(listener, stop));
        loop {
            tokio::select! {
                () = &mut serving => break,
                Some(change) = changes.recv() => ctx.out().note(&change),
            }
        }
        while let Ok(change) = changes.try_recv() {
            ctx.out().note(&change);
        }
        Ok(Report::nothing())
    })
}

/// Who may look. An address that other machines can reach needs more than a token that may be seen on its way.
fn access(args: &Args) -> Result<AccessRule> {
    if let Some(name) = &args.user_header {
        return Ok(AccessRule::Header(name.clone()));
    }
    if let Some(path) = &args.password_file {
        return Ok(AccessRule::Password(read_secret("the password", path)?));
    }
    if args.listen.ip().is_loopback() {
        return Ok(AccessRule::Token);
    }
    let message = format!("{} can be reached by other machines: the page needs a password there", args.listen);
    Err(Error::usage(message)
        .hint("give --password-file FILE, or --user-header NAME with a proxy in front that signs people in"))
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::new(ErrorKind::of_bind(&error), format!("the page cannot be served on {address}: {error}"))
            .hint("choose another address with --listen; port 0 picks a free one")
            .source(error)
    })
}

/// An address that a browser on this machine reaches.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if ip.is_unspecified() => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()),
        _ => address,
    }
}

/// Reads a path before all others.
fn base_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~');
    let plain = path.is_empty() || path.starts_with('/') && !path.contains("//") && path.chars().all(is_plain);
    if plain { Ok(path.to_owned()) } else { Err("not a path such as /hooks".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_is_a_plain_path() {
        assert_eq!(base_path("/hooks/").as_deref(), Ok("/hooks"));
        assert_eq!(base_path("/").as_deref(), Ok(""));
        assert_eq!(base_path("/a/b-c").as_deref(), Ok("/a/b-c"));
        for wrong in ["hooks", "/a b", "//evil.example", "/a//b", "/{x}", "/a?b"] {
            assert!(base_path(wrong).is_err(), "{wrong}");
        }
    }
}

//! What operators watch: the port for them, the check of whether deliveries arrive, and the expiry of the certificate.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::super::calls::test_samples;
use super::super::recorded_hooks::RecordedHooks;
use super::args::Args;
use crate::context::Context;
use crate::domain::{HostScope, host_scope, whole_second};
use crate::error::{Error, Result};
use crate::http::ServedHosts;
use crate::receiver::{self, BUGFENDER_PATH, SelfCheck, SelfCheckState};
use crate::ui::{AccessRule, PageOptions, ReplayClients, SelfCheckView, WebPage};

/// Where the page is served if no address is named.
const PAGE_ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 4001));

/// How long before a certificate expires warnings begin. It is renewed well before that.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The names under which operators' paths are served. That of the public URL is the receiver's own.
pub(super) fn hosts(args: &Args) -> ServedHosts {
    let public = args.subscription.public_url.as_ref().and_then(|url| url.host_str()).map(ToOwned::to_owned);
    ServedHosts::named(args.monitoring.admin_host.iter().cloned().chain(public))
}

/// The port for operators, if there is to be one, and its address.
pub(super) fn listener(runtime: &Runtime, args: &Args) -> Result<Option<(TcpListener, SocketAddr)>> {
    let page = args.monitoring.ui.then_some(PAGE_ADDRESS);
    let Some(address) = args.monitoring.admin_listen.or(page) else { return Ok(None) };
    let listener = runtime.block_on(receiver::bind(address)).map_err(|error| error.about("--admin-listen"))?;
    let address = listener.local_addr()?;
    Ok(Some((listener, address)))
}

/// The page on the port for operators, if there is to be one.
///
/// # Errors
/// A usage error if other machines can reach it, or when the store cannot be opened.
pub(super) fn page(
    ctx: &Context,
    args: &Args,
    address: Option<SocketAddr>,
    self_check: Option<&SelfCheck>,
) -> Result<Option<WebPage>> {
    let Some(address) = address.filter(|_| args.monitoring.ui) else { return Ok(None) };
    if !address.ip().is_loopback() {
        let message = format!("--ui: {address} can be reached by other machines");
        return Err(Error::usage(message).hint("serve the page with `bugfender-hooks ui --password-file` instead"));
    }
    let options = PageOptions {
        store: Arc::from(ctx.store()?),
        read_only: false,
        base_path: String::new(),
        hosts: hosts(args),
        access: AccessRule::Token,
        allowed_hosts: args.monitoring.allowed_targets.clone(),
        clients: ReplayClients { roots: ctx.roots() },
        sample: Box::new(test_samples(ctx)),
        self_check: Box::new(seen_on_page(self_check)),
        hooks: Box::new(RecordedHooks::new(ctx.store()?, ctx.origin().clone())),
        // Without a page there would be no such line, and it must not be missed.
        changes: Box::new(|change| tracing::warn!("the page: {change}")),
    };
    WebPage::open(options).map(Some)
}

/// What the page tells of the receiver's check of itself.
fn seen_on_page(self_check: Option<&SelfCheck>) -> impl Fn() -> SelfCheckView + Send + Sync + use<> {
    let state = self_check.map(SelfCheck::watch);
    move || match state.as_ref().map(|state| state.borrow().clone()) {
        None => SelfCheckView::Off,
        Some(SelfCheckState::Unknown) => SelfCheckView::Unknown,
        Some(SelfCheckState::Passing { since }) => SelfCheckView::Passing(since),
        Some(SelfCheckState::Failing { since, reason }) => SelfCheckView::Failing(since, reason.to_string()),
    }
}

/// The receiver's check of whether deliveries arrive, if there is to be one.
pub(super) fn self_check(ctx: &Context, args: &Args) -> Result<Option<SelfCheck>> {
    let Some((url, interval)) = args.subscription.public_url.as_ref().zip(args.watching.self_check) else {
        return Ok(None);
    };
    let is_loopback = url.host().is_some_and(|host| host_scope(&host) == HostScope::Loopback);
    let mut deliveries = url.clone();
    deliveries.set_path(&format!("{}{BUGFENDER_PATH}", url.path().trim_end_matches('/')));
    SelfCheck::new(deliveries, is_loopback, ctx.roots(), interval).map(Some)
}

/// What is to be said of a certificate that expires then.
pub(super) fn expiry_warning(expiry: Timestamp, now: Timestamp) -> Option<String> {
    let left = expiry.duration_since(now);
    let at = whole_second(expiry);
    if left <= SignedDuration::ZERO {
        return Some(format!("the certificate of --tls-cert expired at {at}: senders reject it"));
    }
    let days = left.as_hours() / 24;
    (left < EXPIRES_SOON).then(|| format!("the certificate of --tls-cert expires at {at}, in {days} days: renew it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_warned_of_for_its_last_two_weeks() {
        let now: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        let after = |hours| expiry_warning(now + SignedDuration::from_hours(hours), now);
        assert_eq!(after(14 * 24), None);
        assert!(after(14 * 24 - 1).unwrap().contains("expires at 2026-11-14T23:00:00Z, in 13 days"));
        assert!(after(1).unwrap().contains("in 0 days"));
        assert!(after(0).unwrap().contains("expired at 2026-11-01T00:00:00Z"));
    }
}

//! Where alerts go.

use super::super::calls::Endpoint;
use super::super::hook_args::TargetUrlArg;
use super::service::Service;
use super::watch_args::WatchArgs;
use crate::context::Context;
use crate::domain::{HostScope, ShownTarget};
use crate::error::Result;
use crate::receiver::{AlertEndpoint, AlertTemplate, AlertTiming, Alerts};

/// Alerts as the command line asks for.
pub(super) fn alerts(ctx: &Context, args: &WatchArgs) -> Result<Alerts> {
    let endpoint = endpoint(ctx, args)?;
    Ok(endpoint.map(|endpoint| Alerts::to(endpoint, AlertTiming::default())).unwrap_or_default())
}

/// The endpoint for alerts, if there is to be one.
pub(super) fn endpoint(ctx: &Context, args: &WatchArgs) -> Result<Option<AlertEndpoint>> {
    let Some(url) = &args.alert else { return Ok(None) };
    let template = args.alert_template.as_deref().map(AlertTemplate::load).transpose();
    let template = template.map_err(|error| error.about("--alert-template"))?;
    let url = url.resolve(ctx).map_err(|error| error.about("--alert"))?;
    let endpoint = Endpoint::at(&url).map_err(|error| error.about("--alert"))?;
    if endpoint.url.scheme() == "http" && url.scope() == HostScope::Public {
        let shown = ShownTarget::of(&endpoint.url);
        ctx.out().warn(&format!("{shown} is plain http: alerts can be read in transit"));
    }
    Ok(Some(AlertEndpoint::new(endpoint.client(ctx)?, endpoint.url, template)))
}

impl Service<'_> {
    /// Reads the URL for alerts again, if it is in a file, and the template.
    pub(super) fn reload_alerts(&self) {
        let watching = &self.args.watching;
        if !watching.alert.as_ref().is_some_and(TargetUrlArg::is_file) {
            return;
        }
        match endpoint(self.ctx, watching) {
            Ok(Some(endpoint)) => self.alerts.replace_endpoint(endpoint),
            Ok(None) => {}
            Err(error) => self.ctx.out().warn(&format!("the endpoint for alerts was not reloaded: {error}")),
        }
    }
}

//! Which apps are caught up with, and what is said of a round.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::app_args;
use super::units::count;
use crate::context::Context;
use crate::domain::{ApiOrigin, AppId, AppName, HookStatus};
use crate::error::{Error, Result};
use crate::poll::{PollReport, PolledApp};
use crate::store::Registry;

/// The hooks on record of an app: since when there is one for events of a type.
type HooksOfApps = BTreeMap<AppId, BTreeMap<String, Timestamp>>;

/// The apps that are named, or those with hooks on record: these with the types of their hooks, unless types are named.
///
/// # Errors
/// A usage error when there is no app.
pub fn polled_apps(
    ctx: &Context,
    named: &[AppName],
    types: &[String],
    since: Option<Timestamp>,
) -> Result<Vec<PolledApp>> {
    let types = (!types.is_empty()).then(|| types.iter().map(|name| name.to_ascii_lowercase()).collect::<Vec<_>>());
    let registry = ctx.existing_registry()?;
    if !named.is_empty() {
        let apps = app_args::app_ids(ctx, named)?.into_iter();
        let mut subscribed = subscribed(registry.as_deref(), ctx.origin())?;
        let app = |app| {
            let subscribed = subscribed.remove(&app).unwrap_or_default();
            let is_partial = is_partial(types.as_deref(), &subscribed);
            PolledApp { app, types: types.clone(), subscribed, since, is_partial }
        };
        return Ok(apps.map(app).collect());
    }
    let mut apps = apps_with_hooks(registry.as_deref(), ctx.origin(), since)?;
    if types.is_some() {
        for app in &mut apps {
            app.types.clone_from(&types);
            app.is_partial = is_partial(types.as_deref(), &app.subscribed);
        }
    }
    if apps.is_empty() {
        let message = "there are no hooks on record, so that nothing says which apps to read";
        let hint = "name them with --app-id; `bugfender-hooks apps` lists the apps of the account";
        return Err(Error::usage(message).hint(hint));
    }
    Ok(apps)
}

/// The apps with hooks on record, with the types of their hooks.
///
/// # Errors
/// When the registry cannot be read.
pub fn apps_with_hooks(
    registry: Option<&dyn Registry>,
    origin: &ApiOrigin,
    since: Option<Timestamp>,
) -> Result<Vec<PolledApp>> {
    let app = |(app, subscribed): (AppId, BTreeMap<String, Timestamp>)| PolledApp {
        app,
        types: Some(subscribed.keys().cloned().collect()),
        subscribed,
        since,
        is_partial: false,
    };
    Ok(subscribed(registry, origin)?.into_iter().map(app).collect())
}

/// Whether these types are not all that an app has hooks for.
fn is_partial(types: Option<&[String]>, subscribed: &BTreeMap<String, Timestamp>) -> bool {
    types.is_some_and(|types| subscribed.is_empty() || subscribed.keys().any(|with_hook| !types.contains(with_hook)))
}

/// The hooks of the installation that may exist.
fn subscribed(registry: Option<&dyn Registry>, origin: &ApiOrigin) -> Result<HooksOfApps> {
    let mut subscribed = HooksOfApps::new();
    if let Some(registry) = registry {
        registry.hooks(Some(origin), &mut |record| {
            if record.status.is_ended() || record.status == HookStatus::Pending {
                return;
            }
            let event_type = record.subscription.event.delivered_type().to_owned();
            let first = subscribed.entry(record.subscription.app_id).or_default().entry(event_type);
            let first = first.or_insert(record.created_at);
            *first = record.created_at.min(*first);
        })?;
    }
    Ok(subscribed)
}

/// What a round found that its numbers do not say, for people.
pub fn remarks(report: &PollReport) -> Vec<String> {
    let PollReport { app, from, unreadable, lists_events, silent_groups, out_of_retention, .. } = report;
    let mut remarks = Vec::new();
    if !lists_events {
        remarks.push(format!(
            "app {app}: the API does not list its events for this account, only groups of issues: what was missed can't be \
             fetched"
        ));
    }
    for (event_type, groups) in silent_groups {
        remarks.push(format!(
            "app {app}: {} of type {event_type} since a webhook last brought an event of it: its hook may be deactivated or \
             deleted",
            if *groups == 1 { "1 group of issues".to_owned() } else { format!("{groups} groups of issues") }
        ));
    }
    if *out_of_retention > 0 {
        remarks.push(format!(
            "app {app}: {} fallen out of Bugfender's retention since {from}: they can't be fetched any more",
            if *out_of_retention == 1 {
                "1 or more rows have".to_owned()
            } else {
                format!("{out_of_retention} rows have")
            }
        ));
    }
    if *unreadable > 0 {
        remarks.push(format!("app {app}: {} without an id left out", count(*unreadable, "row")));
    }
    remarks
}

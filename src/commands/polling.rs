//! Which apps are caught up with, and what is said of a round.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::app_args;
use super::units::count;
use crate::context::Context;
use crate::domain::{AppId, AppName, HookStatus};
use crate::error::{Error, Result};
use crate::poll::{PollReport, PolledApp};

/// The hooks on record of an app: since when there is one for events of a type.
type Subscribed = BTreeMap<AppId, BTreeMap<String, Timestamp>>;

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
    let mut subscribed = subscribed(ctx)?;
    let named_types = (!types.is_empty()).then(|| types.iter().map(|name| name.to_ascii_lowercase()).collect());
    let app = |app: AppId, subscribed: BTreeMap<String, Timestamp>, types: Option<Vec<String>>| PolledApp {
        app,
        types: named_types.clone().or(types),
        subscribed,
        since,
    };
    if !named.is_empty() {
        let apps = app_args::app_ids(ctx, named)?.into_iter();
        return Ok(apps.map(|id| app(id, subscribed.remove(&id).unwrap_or_default(), None)).collect());
    }
    if subscribed.is_empty() {
        let message = "there are no hooks on record, so that nothing says which apps to read";
        let hint = "name them with --app-id; `bugfender-hooks apps` lists the apps of the account";
        return Err(Error::usage(message).hint(hint));
    }
    let with_types = subscribed.into_iter().map(|(id, subscribed)| {
        let types = subscribed.keys().cloned().collect();
        app(id, subscribed, Some(types))
    });
    Ok(with_types.collect())
}

/// The hooks of the installation that may exist.
fn subscribed(ctx: &Context) -> Result<Subscribed> {
    let mut subscribed = Subscribed::new();
    if let Some(registry) = ctx.existing_registry()? {
        registry.hooks(Some(ctx.origin()), &mut |record| {
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
            "app {app}: {} of type {event_type} since {from}, and no webhook brought an event of it: its hook may be \
             deactivated or deleted",
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

//! `history`: who changed the registry.

use std::cell::Cell as Counter;

use clap_complete::ArgValueCompleter;
use serde::Serialize;

use super::existing::existing_registry;
use super::{Report, suggest};
use crate::context::Context;
use crate::domain::{ApiOrigin, AppId, EventKind, HookId, ShownTime};
use crate::error::Result;
use crate::render::{Cell, Output, RecordSource, Row, Shape, Tone, View};
use crate::store::{Action, Change, Registry};

/// Show who changed the registry, newest first
///
/// Each change has its time and who made it: user@host, or the address of the CI job. The newest 100,000 are kept, also
/// those of hooks that were forgotten. Only changes of the installation in use are shown.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only changes of this hook, and of the subscription that became it
    #[arg(value_name = "HOOK_ID", add = ArgValueCompleter::new(suggest::hook_ids))]
    hook_id: Option<HookId>,

    /// At most this many; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,

    /// Show passwords in target URLs
    #[arg(long)]
    show_secrets: bool,
}

const EXAMPLES: &str = "\
Examples:
  bugfender-hooks history 4711
  bugfender-hooks history --limit 0 --output csv > history.csv
  bugfender-hooks history --jq '.[] | select(.action == \"forgotten\") | .actor'";

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    Ok(Report::of(ChangeListing {
        registry: existing_registry(ctx)?,
        origin: ctx.origin().clone(),
        hook: args.hook_id,
        limit: (args.limit > 0).then_some(args.limit),
        show_secrets: args.show_secrets,
        listed: Counter::new(0),
        is_whole: Counter::new(true),
    }))
}

/// A change, in the fields of the documented schema.
#[derive(Serialize)]
struct ChangeRow {
    number: i64,
    at: ShownTime,
    actor: String,
    action: &'static str,
    hook_id: Option<HookId>,
    app_id: AppId,
    event: EventKind,
    target_url: String,
    reason: Option<String>,
    api_url: ApiOrigin,
    #[serde(skip)]
    tone: Tone,
}

impl ChangeRow {
    fn of(change: Change, show_secrets: bool) -> Self {
        let subscription = change.subscription;
        Self {
            number: change.number,
            at: ShownTime::from(change.at),
            actor: change.actor.to_string(),
            action: change.action.as_str(),
            hook_id: change.hook_id,
            app_id: subscription.app_id,
            event: subscription.event,
            target_url: subscription.target_url.into_shown(show_secrets),
            reason: change.reason,
            api_url: subscription.origin,
            tone: tone(change.action),
        }
    }
}

fn tone(action: Action) -> Tone {
    match action {
        Action::Subscribed | Action::Imported | Action::Adopted => Tone::Good,
        Action::LeftInDoubt | Action::RemovalInDoubt | Action::RemovalRefused | Action::Displaced => Tone::Caution,
        Action::Removed | Action::Gone | Action::Forgotten | Action::Abandoned => Tone::Faint,
        Action::BeganSubscribe | Action::BeganRemoval | Action::Merged | Action::Relabeled => Tone::Plain,
    }
}

impl Row for ChangeRow {
    const FIELDS: &'static [&'static str] =
        &["number", "at", "actor", "action", "hook_id", "app_id", "event", "target_url", "reason", "api_url"];
    const HEADERS: &'static [&'static str] = &["TIME", "WHO", "ACTION", "HOOK", "APP", "EVENT", "TARGET URL"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            self.at.to_string().into(),
            self.actor.as_str().into(),
            Cell::toned(self.action, self.tone),
            Cell::maybe(self.hook_id),
            self.app_id.to_string().into(),
            self.event.to_string().into(),
            self.target_url.as_str().into(),
        ]
    }

    fn id(&self) -> Option<String> {
        self.hook_id.map(|id| id.to_string())
    }
}

/// The changes, as they are read.
struct ChangeListing {
    registry: Option<Box<dyn Registry>>,
    origin: ApiOrigin,
    hook: Option<HookId>,
    limit: Option<u64>,
    show_secrets: bool,
    listed: Counter<u64>,
    is_whole: Counter<bool>,
}

impl RecordSource for ChangeListing {
    type Row = ChangeRow;

    fn shape(&self) -> Shape {
        Shape::List
    }

    fn each(&self, each: &mut dyn FnMut(&ChangeRow) -> Result<()>) -> Result<()> {
        let Some(registry) = &self.registry else { return Ok(()) };
        // One more, to know whether there is one.
        let limit = self.limit.map(|limit| limit.saturating_add(1));
        let mut shown = Ok(());
        registry.history(Some(&self.origin), self.hook, limit, &mut |change| {
            if Some(self.listed.get()) == self.limit {
                self.is_whole.set(false);
            } else if shown.is_ok() {
                self.listed.set(self.listed.get() + 1);
                shown = each(&ChangeRow::of(change, self.show_secrets));
            }
        })?;
        shown
    }
}

impl ChangeListing {
    /// Whether there are changes of other installations.
    fn has_others(&self) -> Result<bool> {
        let mut found = false;
        if let Some(registry) = &self.registry {
            registry.history(None, self.hook, Some(1), &mut |_| found = true)?;
        }
        Ok(found)
    }
}

impl View for ChangeListing {
    fn show(&self, out: &Output) -> Result<()> {
        out.show(self)?;
        if !out.is_for_people() {
            return Ok(());
        }
        if self.listed.get() == 0 {
            let of_hook = self.hook.map(|hook| format!("hook {hook} of ")).unwrap_or_default();
            out.note(&format!("no changes of {of_hook}{} to list", self.origin));
            if self.has_others()? {
                out.note("there are changes of other installations; see them with --api-url");
            }
        } else if !self.is_whole.get() {
            out.note(&format!("the newest {} changes; --limit 0 for all", self.listed.get()));
        }
        Ok(())
    }
}

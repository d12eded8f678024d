//! `drift`: hooks that may not deliver any more.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::Report;
use super::calls::Endpoint;
use super::evidence::evidence;
use super::existing::existing_registry;
use super::hook_args::FilterArgs;
use super::hook_row::{HookRow, fields};
use super::units::{count, duration};
use crate::context::Context;
use crate::domain::{HookRecord, HookStatus, ShownTime, TargetUrl};
use crate::error::{Error, Result};
use crate::hooks::{Drift, HookSigns, SharedEvents};
use crate::render::{Cell, Output, Records, Row, Tone, View};

/// The exit code when there is drift.
const DRIFT: u8 = 10;

/// How many endpoints are probed at once.
const PROBES: usize = 8;

/// How long an endpoint may take to answer a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Show hooks that may not deliver any more
///
/// Bugfender deactivates hooks whose endpoint fails for long, and its API does not say which hooks there are. These are the
/// signs: `events fetch` and `listen --catch-up` found events that no webhook brought (missed), the server said that a hook
/// is not there (ended), it is not known whether it exists (unknown), nothing came for long (silent), or its endpoint does
/// not answer (unreachable). Exits with 10 if there is such a hook. `subscribe --replace` makes one anew.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,

    /// Take a hook for silent when nothing came for this long
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = duration)]
    silent_for: SignedDuration,

    /// Send an empty delivery to the endpoint of each active hook, to see whether it answers
    #[arg(long)]
    probe: bool,

    /// Exit with 0 even if there is drift
    #[arg(long)]
    exit_zero: bool,

    /// Show passwords in target URLs
    #[arg(long)]
    show_secrets: bool,
}

const EXAMPLES: &str = "\
Examples:
  bugfender-hooks events fetch && bugfender-hooks drift
  bugfender-hooks drift --silent-for 2d --probe
  bugfender-hooks drift --output json --jq '.[] | select(.drift == \"missed\") | .hook_id'";

/// A hook that may not deliver any more, and why.
#[derive(Serialize)]
struct DriftRow {
    #[serde(flatten)]
    hook: HookRow,
    last_event_at: Option<ShownTime>,
    verified_at: Option<ShownTime>,
    shares_events: bool,
    drift: &'static str,
    detail: String,
}

impl Row for DriftRow {
    const FIELDS: &'static [&'static str] = fields!("last_event_at", "verified_at", "shares_events", "drift", "detail");
    const HEADERS: &'static [&'static str] = &["HOOK", "APP", "EVENT", "DRIFT", "LABEL", "LAST EVENT", "DETAIL"];

    fn cells(&self) -> Vec<Cell> {
        let tone = if self.drift == "missed" { Tone::Bad } else { Tone::Caution };
        vec![
            Cell::maybe(self.hook.hook_id),
            Cell::maybe(self.hook.app_id),
            Cell::maybe(self.hook.event),
            Cell::toned(self.drift, tone),
            Cell::maybe(self.hook.label.as_ref()),
            Cell::maybe(self.last_event_at),
            self.detail.clone().into(),
        ]
    }

    fn id(&self) -> Option<String> {
        self.hook.id()
    }
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let selection = args.filter.selection(ctx)?;
    let Some(registry) = existing_registry(ctx)? else {
        ctx.out().note("there is no registry yet, and so no hook to look at");
        return Ok(Report::list(Vec::<DriftRow>::new(), Vec::new()));
    };
    let mut hooks = Vec::new();
    registry.hooks(Some(ctx.origin()), &mut |record| hooks.push(record))?;
    let evidence = evidence(ctx)?;
    if evidence.is_none() {
        ctx.out().note("there is no inbox, so that nothing is known of events: only the registry is looked at");
    }
    let evidence = evidence.unwrap_or_default();
    let shared = SharedEvents::of(&hooks);
    let replaced = |gone: &HookRecord| {
        let is_alive =
            |other: &&HookRecord| !other.status.is_ended() && other.subscription.is_same_as(&gone.subscription);
        hooks.iter().any(|other| is_alive(&other))
    };
    let looked_at: Vec<&HookRecord> = hooks.iter().filter(|hook| selection.takes(hook)).collect();
    let unreachable = if args.probe { probe(ctx, &looked_at)? } else { BTreeMap::new() };
    let (mut rows, mut unheard, now) = (Vec::new(), 0_u64, Timestamp::now());
    for hook in looked_at.iter().filter(|hook| hook.status != HookStatus::Gone || !replaced(hook)) {
        let signs = evidence.signs(hook, shared.with(hook));
        let found = evidence.drift(hook, args.silent_for, now).map(|drift| told(drift, &signs));
        let is_active = hook.status == HookStatus::Active;
        let unanswered = || {
            let why = unreachable.get(hook.subscription.target_url.expose()).filter(|_| is_active);
            why.map(|why| ("unreachable", why.clone()))
        };
        unheard += u64::from(is_active && !evidence.is_heard(hook));
        if let Some((drift, detail)) = found.or_else(unanswered) {
            rows.push(row((*hook).clone(), signs, (drift, detail), args.show_secrets));
        }
    }
    if unheard > 0 {
        ctx.out().note(&format!(
            "{} elsewhere than to the receiver of this inbox: whether events come there is not known here",
            if unheard == 1 { "1 hook delivers".to_owned() } else { format!("{unheard} hooks deliver") }
        ));
    }
    let exit_code = (!rows.is_empty() && !args.exit_zero).then_some(DRIFT);
    let looked_at = looked_at.iter().filter(|hook| !hook.status.is_ended()).count() as u64;
    Ok(Report { exit_code, ..Report::of(DriftView { records: Records::list(rows), looked_at }) })
}

/// The hooks with drift; people are told when there is none.
struct DriftView {
    records: Records<DriftRow>,
    looked_at: u64,
}

impl View for DriftView {
    fn show(&self, out: &Output) -> Result<()> {
        out.show(&self.records)?;
        if out.is_for_people() && self.records.rows.is_empty() {
            out.note(&format!("no drift: {} looked at", count(self.looked_at, "hook")));
        }
        Ok(())
    }
}

fn row(hook: HookRecord, signs: HookSigns, (drift, detail): (&'static str, String), show_secrets: bool) -> DriftRow {
    let HookSigns { last_event_at, verified_at, shares_events } = signs;
    DriftRow {
        hook: HookRow::of(hook, show_secrets),
        last_event_at: last_event_at.map(ShownTime::from),
        verified_at: verified_at.map(ShownTime::from),
        shares_events,
        drift,
        detail,
    }
}

/// What drift is called, and what it means.
fn told(drift: Drift, signs: &HookSigns) -> (&'static str, String) {
    let of_which = if signs.shares_events { "; which of the hooks for this app and event is not known" } else { "" };
    match drift {
        Drift::Missed { events: 0, last_at } => (
            "missed",
            format!(
                "there were issues up to {} and no webhook: deactivated or deleted?{of_which}",
                ShownTime::from(last_at)
            ),
        ),
        Drift::Missed { events, last_at } => (
            "missed",
            format!(
                "{} that no webhook brought, the newest of {}: deactivated or deleted?{of_which}",
                count(events, "event"),
                ShownTime::from(last_at)
            ),
        ),
        Drift::Ended => ("ended", "the server said that it is not there".to_owned()),
        Drift::InDoubt => ("unknown", "it is not known whether it exists".to_owned()),
        Drift::Silent { since } => ("silent", format!("nothing came since {}{of_which}", ShownTime::from(since))),
    }
}

/// The endpoints of active hooks that do not answer, and why. An empty array is a delivery of no event.
fn probe(ctx: &Context, hooks: &[&HookRecord]) -> Result<BTreeMap<String, String>> {
    let active = hooks.iter().filter(|hook| hook.status == HookStatus::Active);
    let mut targets: Vec<&TargetUrl> = active.map(|hook| &hook.subscription.target_url).collect();
    targets.sort_by_key(|target| target.expose());
    targets.dedup_by_key(|target| target.expose());
    let probes = stream::iter(targets.iter().map(|target| probe_one(ctx, target))).buffer_unordered(PROBES);
    let answers = ctx.wait(probes.collect::<Vec<_>>())?.ok_or_else(|| Error::interrupted("while probing endpoints"))?;
    Ok(answers.into_iter().flatten().collect())
}

async fn probe_one(ctx: &Context, target: &TargetUrl) -> Option<(String, String)> {
    let failed = |why: String| Some((target.expose().to_owned(), why));
    let endpoint = match Endpoint::at(target) {
        Ok(endpoint) => endpoint,
        Err(error) => return failed(error.to_string()),
    };
    let client = match endpoint.client_that_waits(ctx, PROBE_TIMEOUT) {
        Ok(client) => client,
        Err(error) => return failed(error.to_string()),
    };
    match client.send(&endpoint.request(b"[]"), None).await {
        Err(failure) => failed(failure.error.to_string()),
        // An endpoint that wants events is right to say so.
        Ok(response) if matches!(response.status.as_u16(), 200..=299 | 400 | 415 | 422) => None,
        Ok(response) => failed(format!("the endpoint answered with HTTP {}", response.status.as_u16())),
    }
}

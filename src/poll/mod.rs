//! Catching up: events that no webhook brought are read through the API and stored as deliveries are.
//!
//! The pages of an app are read oldest first ([`walk`]), from where the round before ended, with an overlap ([`window`]).
//! Nothing is stored before an id is found that a webhook brought too ([`gate`]), as no document says that the ids of both
//! are the same. How far an app was read is noted after its events are stored: whoever is killed reads some again.

mod gate;
mod pace;
mod reader;
mod rows;
mod walk;
mod window;

use std::collections::BTreeMap;
use std::future::Future;

use jiff::{SignedDuration, Timestamp};

pub use self::pace::PollPace;

use self::reader::AppReader;
use crate::api::{AuthenticatedApi, GroupQuery, PageFailure};
use crate::domain::delivery::{Delivery, Via};
use crate::domain::event::Sender;
use crate::domain::{ApiOrigin, AppId, EventKind, IdForm, IssueList, Redaction, whole_second};
use crate::error::{Error, ErrorKind, Result};
use crate::http::Failure;
use crate::store::worker::StoreWorker;
use crate::store::{EventPage, EventSelection, Inbox, MissedEvents, StoreError};

use self::window::{PollWindow, WindowRule};

/// Stores what was polled as what was received is stored.
pub trait Deposit {
    /// Stores a delivery; it is durable when this returns.
    ///
    /// # Errors
    /// When it is not stored.
    fn deposit(&self, delivery: Delivery) -> impl Future<Output = Result<PolledReceipt>>;
}

/// What became of polled events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolledReceipt {
    /// How many were stored.
    pub new: u64,
    /// How many the inbox had by then.
    pub known: u64,
}

/// How to poll.
#[derive(Debug, Clone)]
pub struct PollOptions {
    /// How far what was read before is read again, as an event may be listed late.
    pub look_back: SignedDuration,
    /// How fast.
    pub pace: PollPace,
    /// What is removed from events before they are stored.
    pub redaction: Option<Redaction>,
    /// Whether ids are taken to be those of deliveries.
    pub trusts_ids: bool,
    /// Whether nothing is stored.
    pub dry_run: bool,
}

/// An app to catch up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolledApp {
    /// The app.
    pub app: AppId,
    /// Only events of these types, in lower case; all when it is `None`.
    pub types: Option<Vec<String>>,
    /// Since when there is a hook for events of a type.
    pub subscribed: BTreeMap<String, Timestamp>,
    /// From when on, whatever was read before and whenever the hooks were made.
    pub since: Option<Timestamp>,
    /// Whether events are left out that there are hooks for, so that what is read does not count for the next time.
    pub is_partial: bool,
}

impl PolledApp {
    fn wants(&self, event_type: Option<&str>) -> bool {
        // What says no type may be of any.
        self.types.as_ref().is_none_or(|types| event_type.is_none_or(|name| types.iter().any(|wanted| wanted == name)))
    }

    /// When the hook was made that would have brought an event of this type.
    fn subscribed_at(&self, event_type: Option<&str>) -> Option<Timestamp> {
        let own = event_type.and_then(|event_type| self.subscribed.get(event_type));
        own.or_else(|| self.subscribed.values().min()).copied()
    }
}

/// What came of an app in a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollReport {
    /// The app.
    pub app: AppId,
    /// From when on it was read.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// How many events were found.
    pub found: u64,
    /// How many of them the inbox had.
    pub known: u64,
    /// How many of them were not asked for: of another type, or from before their hook was made.
    pub left_out: u64,
    /// How many were stored, or would be.
    pub new: u64,
    /// How many rows were no events.
    pub unreadable: u64,
    /// Whether the API lists events at all, for this account.
    pub lists_events: bool,
    /// Types of which there were groups of issues while no webhook brought any, and how many groups.
    pub silent_groups: BTreeMap<String, u64>,
    /// How many rows have fallen out of Bugfender's retention.
    pub out_of_retention: u64,
}

/// How far a list has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollProgress {
    /// The app.
    pub app: AppId,
    /// How many pages of its list were read.
    pub pages: u64,
    /// How many there are.
    pub total_pages: u64,
}

/// The largest page that is read, in bytes: of a larger one, fewer rows are asked for at once.
pub const MAX_PAGE: usize = 6 * 1024 * 1024;

/// Polls the apps of an installation.
pub struct Poller<'a, D> {
    api: &'a AuthenticatedApi,
    origin: &'a ApiOrigin,
    inbox: StoreWorker<dyn Inbox>,
    deposit: D,
    options: PollOptions,
}

impl<'a, D: Deposit> Poller<'a, D> {
    /// One that asks this API, and looks into this inbox.
    pub fn new(
        api: &'a AuthenticatedApi,
        origin: &'a ApiOrigin,
        inbox: StoreWorker<dyn Inbox>,
        deposit: D,
        options: PollOptions,
    ) -> Self {
        Self { api, origin, inbox, deposit, options }
    }

    /// Catches up with these apps; gives what came of each, and what went wrong. Apps with webhooks to compare with come
    /// first: if their ids are others, nothing is stored for any that comes after.
    pub async fn round(
        &self,
        apps: &[PolledApp],
        now: Timestamp,
        progress: &dyn Fn(PollProgress),
    ) -> (Vec<PollReport>, Vec<Error>) {
        let (mut reports, mut errors) = (Vec::new(), Vec::new());
        let mut planned = Vec::new();
        for app in apps {
            match self.plan(app, now).await {
                Ok(plan) => planned.push((app, plan)),
                Err(error) => errors.push(error),
            }
        }
        planned.sort_by_key(|(_, plan)| !plan.has_webhooks);
        for (app, plan) in planned {
            match self.catch_up(app, plan, now, progress).await {
                Ok(report) => reports.push(report),
                Err(error) => {
                    // Ids that are not the same, rather than a request that was rejected.
                    let is_refusal = error.kind() == ErrorKind::NotUnderstood && error.http_status().is_none();
                    let is_of_all = is_refusal
                        || matches!(error.kind(), ErrorKind::NotSignedIn | ErrorKind::Store | ErrorKind::Interrupted);
                    errors.push(error);
                    if is_of_all {
                        break;
                    }
                }
            }
        }
        (reports, errors)
    }

    /// Reads on from where the lists of an app were read to before.
    async fn plan(&self, app: &PolledApp, now: Timestamp) -> Result<PollPlan> {
        let (origin, id) = (self.origin.clone(), app.app);
        let polled = move |inbox: &mut (dyn Inbox + 'static)| {
            let until = |list| inbox.polled_until(&origin, id, list);
            Ok::<_, StoreError>([until(IssueList::Open)?, until(IssueList::Closed)?])
        };
        let polled = self.inbox.run(polled).await?;
        let subscribed_at = app.subscribed.values().min().copied();
        let window = |polled_until| {
            let rule = WindowRule { since: app.since, polled_until, subscribed_at, look_back: self.options.look_back };
            rule.window().ok_or_else(|| {
                Error::usage(format!(
                    "app {} has no hook on record, so that nothing says from when on to read",
                    app.app
                ))
                .hint("say from when on with --since, such as --since 24h")
            })
        };
        let windows = [window(polled[0])?, window(polled[1])?];
        let from = windows[0].from.min(windows[1].from);
        // Right after the hook was made there is nothing of before.
        let comparable_from = if Some(from) == subscribed_at { from } else { comparable(from, now) };
        let selection = webhooks_of(app.app, comparable_from, now);
        let page = EventPage { limit: Some(1), ..EventPage::default() };
        let look = move |inbox: &mut (dyn Inbox + 'static)| {
            let mut is_there = false;
            inbox.events(&selection, page, &mut |_| {
                is_there = true;
                false
            })?;
            Ok::<_, StoreError>((is_there, id_form_of_webhooks(inbox)?))
        };
        let (has_webhooks, id_form) = self.inbox.run(look).await?;
        Ok(PollPlan { windows, from, comparable_from, has_webhooks, id_form })
    }

    async fn catch_up(
        &self,
        app: &PolledApp,
        plan: PollPlan,
        now: Timestamp,
        progress: &dyn Fn(PollProgress),
    ) -> Result<PollReport> {
        let mut reader = AppReader::new(self, app, &plan, now, progress);
        let unlisted = match reader.read().await {
            Ok(()) => None,
            Err(error) if matches!(error.http_status(), Some(403 | 404)) => Some(error),
            Err(error) => return Err(error),
        };
        let mut report = reader.into_report();
        report.lists_events = unlisted.is_none();
        let grouped = self.groups(app, &plan, now, &mut report).await;
        match (unlisted, grouped) {
            (Some(error), Err(_)) => Err(error),
            (_, Err(failure)) => {
                tracing::debug!("groups are not known: {}", failure.failure.error);
                Ok(report)
            }
            (_, Ok(())) => Ok(report),
        }
    }

    /// Asks for groups of issues: where events are not listed, they tell that some came; and what has fallen out of
    /// retention they tell everywhere.
    async fn groups(
        &self,
        app: &PolledApp,
        plan: &PollPlan,
        now: Timestamp,
        report: &mut PollReport,
    ) -> Result<(), PageFailure> {
        for kind in EventKind::ALL.into_iter().filter(|kind| app.wants(Some(kind.delivered_type()))) {
            let event_type = kind.delivered_type();
            let unheard = if report.lists_events {
                None
            } else {
                self.unheard(app.app, event_type, plan.from, now).await.map_err(Failure::not_sent)?
            };
            // Also without such a time: what was lost to retention, or that nothing can be read, is to be known.
            let (since, until) = unheard.unwrap_or((plan.from, now));
            let query = GroupQuery { app: app.app, kind, since, until };
            let summary = self.options.pace.ask(async || self.api.issue_groups(&query).await).await?;
            // That some rows are out of it may be said of each kind.
            report.out_of_retention = report.out_of_retention.max(summary.out_of_retention);
            if summary.groups == 0 || unheard.is_none() {
                continue;
            }
            self.note_silent_groups(app.app, event_type, until, now).await.map_err(Failure::not_sent)?;
            report.silent_groups.insert(event_type.to_owned(), summary.groups);
        }
        Ok(())
    }

    /// Between which times an issue of a type would have been brought by a webhook, had there been one, and none was.
    async fn unheard(
        &self,
        app: AppId,
        event_type: &'static str,
        from: Timestamp,
        now: Timestamp,
    ) -> Result<Option<(Timestamp, Timestamp)>> {
        let last = move |inbox: &mut (dyn Inbox + 'static)| {
            let arrivals = inbox.arrivals()?.into_iter();
            let mut of_type = arrivals.filter(|one| one.app_id == app.get() && one.event_type == event_type);
            Ok::<_, StoreError>(of_type.next().map(|arrival| arrival.last_at))
        };
        let Some(last) = self.inbox.run(last).await?.filter(|last| *last > from) else { return Ok(Some((from, now))) };
        let since = comparable(last, now);
        // What was made a moment ago may be on its way; and the server is asked by whole seconds.
        let until = now.checked_sub(since.duration_since(last)).unwrap_or(now);
        let since = whole_second(since).checked_add(SignedDuration::from_secs(1)).unwrap_or(since);
        Ok((since < until).then_some((since, until)))
    }

    /// Notes that there were groups of issues of a type up to a time, while no webhook brought any.
    async fn note_silent_groups(
        &self,
        app_id: AppId,
        event_type: &'static str,
        last_at: Timestamp,
        found_at: Timestamp,
    ) -> Result<()> {
        if self.options.dry_run {
            return Ok(());
        }
        let missed = MissedEvents { app_id, event_type: event_type.to_owned(), events: 0, last_at, found_at };
        let origin = self.origin.clone();
        self.inbox.run(move |inbox| inbox.note_missed(&origin, &[missed])).await
    }
}

/// Where the lists of an app are read from.
struct PollPlan {
    /// Of the open and the closed issues.
    windows: [PollWindow; 2],
    from: Timestamp,
    /// From when on ids are compared with those of webhooks.
    comparable_from: Timestamp,
    /// Whether webhooks brought events in that time.
    has_webhooks: bool,
    /// How webhooks write ids.
    id_form: IdForm,
}

/// How the newest event that a webhook brought has its id written.
fn id_form_of_webhooks(inbox: &mut (dyn Inbox + 'static)) -> Result<IdForm, StoreError> {
    let (sender, via) = (Some(Sender::Bugfender), Some(Via::Webhook));
    let selection = EventSelection { sender, via, ..EventSelection::default() };
    let page = EventPage { newest_first: true, limit: Some(1), with_json: true, ..EventPage::default() };
    let mut form = None;
    inbox.events(&selection, page, &mut |event| {
        form = event.json.as_deref().and_then(|json| IdForm::of(&String::from_utf8_lossy(json)));
        false
    })?;
    Ok(form.unwrap_or_default())
}

/// Events of an app that webhooks brought.
fn webhooks_of(app: AppId, since: Timestamp, until: Timestamp) -> EventSelection {
    EventSelection {
        since: Some(since),
        until: Some(until),
        app_ids: vec![app.get()],
        sender: Some(Sender::Bugfender),
        via: Some(Via::Webhook),
        ..EventSelection::default()
    }
}

/// From when on webhooks are compared with what is listed: one that was delivered right after `from` may be about an event
/// of before, which is not listed then.
fn comparable(from: Timestamp, now: Timestamp) -> Timestamp {
    const DELIVERY_TIME: SignedDuration = SignedDuration::from_mins(10);
    let margin = DELIVERY_TIME.min(now.duration_since(from) / 10).max(SignedDuration::ZERO);
    from.checked_add(margin).unwrap_or(from)
}

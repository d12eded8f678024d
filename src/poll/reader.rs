//! Reading the lists of one app, and storing what is new.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::gate::{CheckedRow, GateVerdict, OfferedPage, TrustGate};
use super::rows::{IssueRow, read_rows};
use super::walk::{PageAnswer, PageWalk};
use super::window::{PollWindow, ReadUpTo};
use super::{Deposit, PollPlan, PollProgress, PollReport, PolledApp, Poller, webhooks_of};
use crate::api::{IssuePage, IssuePageQuery, PageFailure};
use crate::domain::delivery::{Delivery, Via};
use crate::domain::event::Sender;
use crate::domain::{IssueList, excerpt};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Arrival, EventPage, EventSelection, Inbox, MissedEvents, StoreError};

/// How many rows are asked for at once, as a published client does (seen).
const PAGE_SIZE: u32 = 100;

/// Reads one app.
pub(super) struct AppReader<'r, 'a, D> {
    poller: &'r Poller<'a, D>,
    app: &'r PolledApp,
    plan: &'r PollPlan,
    now: Timestamp,
    progress: &'r dyn Fn(PollProgress),
    report: PollReport,
    /// How far each list was read.
    read_up_to: [ReadUpTo; 2],
    page_size: u32,
    /// Whether a page was read that another may follow.
    is_first_page: bool,
}

/// What is read of the pages so far, to be counted once only.
#[derive(Default, Clone, Copy)]
struct Counts {
    found: u64,
    known: u64,
    left_out: u64,
    new: u64,
}

impl<'r, 'a, D: Deposit> AppReader<'r, 'a, D> {
    pub(super) fn new(
        poller: &'r Poller<'a, D>,
        app: &'r PolledApp,
        plan: &'r PollPlan,
        now: Timestamp,
        progress: &'r dyn Fn(PollProgress),
    ) -> Self {
        let report = PollReport {
            app: app.app,
            from: plan.from,
            until: now,
            found: 0,
            known: 0,
            left_out: 0,
            new: 0,
            unreadable: 0,
            lists_events: true,
            silent_groups: BTreeMap::new(),
            out_of_retention: 0,
        };
        let read_up_to = [ReadUpTo::default(); 2];
        Self { poller, app, plan, now, progress, report, read_up_to, page_size: PAGE_SIZE, is_first_page: true }
    }

    pub(super) fn into_report(self) -> PollReport {
        self.report
    }

    /// Reads both lists, and stores what is new in them.
    pub(super) async fn read(&mut self) -> Result<()> {
        let is_trusted = self.poller.options.trusts_ids || !self.plan.has_webhooks;
        match self.read_through(TrustGate::new(is_trusted)).await? {
            GateVerdict::Passed(rest) => self.store_all(rest).await,
            GateVerdict::ReadAgain => {
                self.report.unreadable = 0;
                match self.read_through(TrustGate::new(true)).await? {
                    GateVerdict::Passed(rest) => self.store_all(rest).await,
                    // An open gate refuses nothing.
                    GateVerdict::ReadAgain | GateVerdict::Refused { .. } => Ok(()),
                }
            }
            GateVerdict::Refused { rows, example } => Err(self.refusal(rows, example).await?),
        }
    }

    async fn read_through(&mut self, mut gate: TrustGate) -> Result<GateVerdict> {
        for list in IssueList::ALL {
            let mut walk = PageWalk::new(self.page_size);
            let mut pages = 0;
            while let Some(page) = walk.next() {
                let answer = match self.ask(list, page).await {
                    Err(failure) if failure.is_too_large && self.page_size > 1 => {
                        self.page_size = (self.page_size / 4).max(1);
                        walk = PageWalk::new(self.page_size);
                        continue;
                    }
                    answer => answer.map_err(|failure| failure.failure.error)?,
                };
                pages += 1;
                let total_pages = answer.total_pages.unwrap_or(pages).max(pages);
                (self.progress)(PollProgress { app: self.app.app, pages, total_pages });
                let count = answer.issues.len();
                let (rows, order, unreadable) = read_rows(answer.issues, self.plan.id_form);
                let told =
                    PageAnswer { rows: count, order, total_pages: answer.total_pages, item_count: answer.item_count };
                if !walk.answered(&told) {
                    continue;
                }
                self.report.unreadable += unreadable;
                let offered = OfferedPage { list, rows: self.check(rows).await?, ends_list: walk.next().is_none() };
                let passed = gate.offer(offered);
                if gate.must_read_again() {
                    return Ok(gate.verdict());
                }
                self.store_all(passed).await?;
            }
        }
        Ok(gate.verdict())
    }

    async fn ask(&mut self, list: IssueList, page: u64) -> Result<IssuePage, PageFailure> {
        let Poller { api, options, .. } = self.poller;
        if !std::mem::take(&mut self.is_first_page) && page > 1 {
            tokio::time::sleep(options.pace.page_pause).await;
        }
        let query =
            IssuePageQuery { app: self.app.app, list, since: self.window(list).from, page_size: self.page_size, page };
        options.pace.ask(async || api.issues(&query).await).await
    }

    fn window(&self, list: IssueList) -> PollWindow {
        self.plan.windows[place(list)]
    }

    /// What the inbox has of these rows.
    async fn check(&self, rows: Vec<IssueRow>) -> Result<Vec<CheckedRow>> {
        let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
        let (selection, app) = (
            EventSelection { ids: Some(ids), sender: Some(Sender::Bugfender), ..EventSelection::default() },
            self.app.app,
        );
        let look = move |inbox: &mut (dyn Inbox + 'static)| {
            let mut known = HashMap::<String, Via>::new();
            inbox.events(&selection, EventPage::default(), &mut |event| {
                // The same id may be that of another app's event.
                if event.app_id.is_none_or(|id| id == app.get()) {
                    let via = known.entry(event.id).or_insert(event.via);
                    if event.via == Via::Webhook {
                        *via = Via::Webhook;
                    }
                }
                true
            })?;
            Ok::<_, StoreError>(known)
        };
        let known = self.poller.inbox.run(look).await?;
        Ok(rows.into_iter().map(|row| CheckedRow { known: known.get(&row.id).copied(), row }).collect())
    }

    async fn store_all(&mut self, pages: Vec<OfferedPage>) -> Result<()> {
        for page in pages {
            self.store(page).await?;
        }
        Ok(())
    }

    /// Stores what is new on a page, and then notes how far its list was read.
    async fn store(&mut self, page: OfferedPage) -> Result<()> {
        let window = self.window(page.list);
        let mut counts = Counts { found: page.rows.len() as u64, ..Counts::default() };
        let (mut new, mut missed) = (Vec::new(), BTreeMap::<String, (u64, Timestamp)>::new());
        for CheckedRow { row, known } in &page.rows {
            if self.is_left_out(row, window) {
                counts.left_out += 1;
                continue;
            }
            match known {
                Some(_) => counts.known += 1,
                None => new.push(row),
            }
            if *known != Some(Via::Webhook)
                && let Some(event_type) = &row.event_type
            {
                let made_at = row.created_at.unwrap_or(self.now).min(self.now);
                let (events, last_at) = missed.entry(event_type.clone()).or_insert((0, made_at));
                *events += u64::from(known.is_none());
                *last_at = made_at.max(*last_at);
            }
        }
        counts.new = new.len() as u64;
        if !self.poller.options.dry_run {
            if !new.is_empty() {
                let raw: Vec<&str> = new.iter().map(|row| row.raw.get()).collect();
                let body = ["[", &raw.join(","), "]"].concat().into_bytes();
                let redaction = self.poller.options.redaction.as_ref();
                let delivery = Delivery::polled(self.app.app, Timestamp::now(), body, redaction)
                    .map_err(|malformed| Error::new(ErrorKind::Other, malformed.to_string()))?;
                let receipt = self.poller.deposit.deposit(delivery).await?;
                // A webhook may have brought one meanwhile.
                counts.new = receipt.new;
                counts.known += receipt.known;
            }
            let until = self.reached(&page);
            self.note(page.list, missed, until.filter(|_| window.moves_cursor && !self.app.is_partial)).await?;
        }
        self.count(counts);
        Ok(())
    }

    fn is_left_out(&self, row: &IssueRow, window: PollWindow) -> bool {
        let event_type = row.event_type.as_deref();
        let is_too_old = || {
            let made_at = row.created_at.zip(self.app.subscribed_at(event_type).filter(|_| window.is_bound_to_hooks));
            made_at.is_some_and(|(made_at, subscribed_at)| made_at < subscribed_at)
        };
        !self.app.wants(event_type) || is_too_old()
    }

    /// Up to when all of a list is stored now.
    fn reached(&mut self, page: &OfferedPage) -> Option<Timestamp> {
        let read = &mut self.read_up_to[place(page.list)];
        let until = read.page(page.rows.iter().map(|row| row.row.created_at));
        // A clock that is ahead makes no event of the future known.
        if page.ends_list { Some(self.now) } else { until.map(|until| until.min(self.now)) }
    }

    /// Puts on record what no webhook brought, and how far a list was read.
    async fn note(
        &self,
        list: IssueList,
        missed: BTreeMap<String, (u64, Timestamp)>,
        until: Option<Timestamp>,
    ) -> Result<()> {
        let (origin, app, now) = (self.poller.origin.clone(), self.app.app, self.now);
        let note = move |inbox: &mut (dyn Inbox + 'static)| {
            if !missed.is_empty() {
                let (known, arrivals) = (inbox.missed_events(&origin)?, inbox.arrivals()?);
                let found = missed.into_iter().filter_map(|(event_type, (events, last_at))| {
                    let known = known.iter().find(|one| one.app_id == app && one.event_type == event_type);
                    // What was found by an earlier round is no news.
                    if events == 0 && known.is_some_and(|known| known.last_at >= last_at) {
                        return None;
                    }
                    let has_come_since = |known: &&MissedEvents| {
                        let is_later = |arrival: &Arrival| {
                            (arrival.app_id, &arrival.event_type) == (app.get(), &event_type)
                                && arrival.last_at > known.last_at
                        };
                        arrivals.iter().any(is_later)
                    };
                    let before = known.filter(|known| !has_come_since(known)).map_or(0, |known| known.events);
                    Some(MissedEvents { app_id: app, event_type, events: before + events, last_at, found_at: now })
                });
                let found: Vec<_> = found.collect();
                if !found.is_empty() {
                    inbox.note_missed(&origin, &found)?;
                }
            }
            if let Some(until) = until {
                inbox.note_polled(&origin, app, list, until)?;
            }
            Ok::<_, StoreError>(())
        };
        self.poller.inbox.run(note).await
    }

    fn count(&mut self, Counts { found, known, left_out, new }: Counts) {
        let report = &mut self.report;
        report.found += found;
        report.known += known;
        report.left_out += left_out;
        report.new += new;
    }

    /// What was seen of ids that are not the same.
    async fn refusal(&self, rows: u64, example: Option<String>) -> Result<Error> {
        let selection = webhooks_of(self.app.app, self.plan.comparable_from, self.now);
        let look = move |inbox: &mut (dyn Inbox + 'static)| {
            let events: u64 = inbox.count_events(&selection)?.iter().map(|count| count.events).sum();
            let mut id = None;
            let page = EventPage { newest_first: true, limit: Some(1), ..EventPage::default() };
            inbox.events(&selection, page, &mut |event| {
                id = Some(event.id);
                false
            })?;
            Ok::<_, StoreError>((events, id))
        };
        let (events, id) = self.poller.inbox.run(look).await?;
        let shown = |id: Option<String>| id.map_or_else(|| "-".to_owned(), |id| excerpt(&id, 60));
        let message = format!(
            "app {}: webhooks brought {events} events since {}, and none of the {rows} that the API lists has the id of one: \
             nothing was stored",
            self.app.app, self.plan.comparable_from
        );
        Ok(Error::new(ErrorKind::NotUnderstood, message)
            .hint(format!("an id of the API is {}, one of a webhook {}", shown(example), shown(id)))
            .hint("if they are different events all the same, --trust-ids stores them; else each would be there twice"))
    }
}

fn place(list: IssueList) -> usize {
    match list {
        IssueList::Open => 0,
        IssueList::Closed => 1,
    }
}

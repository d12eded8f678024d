//! Storing deliveries: those of all connections that wait, in one statement and one round trip.
//!
//! The statement (`group.sql`) finds duplicates by their keys, and a unique index finds those that another receiver is
//! storing at this moment. What became of such is known when its transaction has ended: they are looked at again then.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use jiff::SignedDuration;

use super::super::fault::PostgresFault;
use super::super::session::{ServerSession, values};
use super::{stored, watermark};
use crate::domain::delivery::{Delivery, Via};
use crate::domain::event::{AppHash, EventFacts, EventKey};
use crate::store::{EncodedDelivery, EventSeq, Receipt, Route};

const GROUP: &str = include_str!("group.sql");

/// How often events that are being stored by somebody else are looked at again.
const LOOKS: usize = 20;

/// Stores them all, or nothing.
pub(super) fn commit(
    session: &ServerSession,
    window: SignedDuration,
    deliveries: &[EncodedDelivery],
    routes: &[Route],
) -> Result<Vec<Receipt>, PostgresFault> {
    let mut group = Group::of(deliveries, window);
    let mut unreadable = Unreadable::of(deliveries);
    let mut is_again = false;
    for _ in 0..LOOKS {
        let rows = Rows::of(&group, routes, is_again);
        let outcome = send(session, &rows, &unreadable, window);
        match outcome {
            Ok(places) => {
                unreadable = Unreadable::default();
                group.apply(&places);
            }
            // Nothing was stored.
            Err(fault) if fault.is_of_concurrency() => continue,
            // Whether it was stored is found out by the keys: what was is a duplicate, which nobody sent.
            Err(fault) if session.has_broken(&fault) && !is_again => is_again = true,
            Err(fault) => return Err(fault),
        }
        if group.candidates.is_empty() && unreadable.senders.is_empty() {
            leave_quarantine(session, deliveries)?;
            return Ok(group.receipts);
        }
    }
    Err(PostgresFault::Contended)
}

/// Removes deliveries that were read again. Only now: what somebody else is storing meanwhile may not be stored in the end.
fn leave_quarantine(session: &ServerSession, deliveries: &[EncodedDelivery]) -> Result<(), PostgresFault> {
    let numbers: Vec<i64> = deliveries.iter().filter_map(EncodedDelivery::quarantined).collect();
    if numbers.is_empty() {
        return Ok(());
    }
    let sql = "DELETE FROM @quarantine WHERE id = ANY ($1)";
    session.try_run(async |link| link.commit_one(sql, values![numbers => INT8_ARRAY]).await).map(drop)
}

/// For each candidate, the event that it duplicates, or its own number; neither if somebody else is storing it.
type Places = Vec<(Option<i64>, Option<i64>)>;

fn send(
    session: &ServerSession,
    rows: &Rows<'_>,
    unreadable: &Unreadable<'_>,
    window: SignedDuration,
) -> Result<Places, PostgresFault> {
    let window = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
    let places = session.once(async |link| {
        let begin = watermark::begin(link.schema());
        link.commit_after(&begin, GROUP, &rows.values(unreadable, &window)).await
    })?;
    Ok(places.iter().map(|row| (row.get(1), row.get(2))).collect())
}

/// An event that may be new: no other in its group is the same.
struct NewEvent<'a> {
    delivery: usize,
    /// Its place in the delivery.
    place: usize,
    facts: &'a EventFacts,
    /// How often webhooks brought it within the group.
    webhooks: i32,
    /// When the last of them came.
    came_at: Option<i64>,
}

impl NewEvent<'_> {
    /// Counts a delivery that it was in: what polling finds again is no duplicate.
    fn count(&mut self, delivery: &Delivery) {
        if delivery.via() == Via::Webhook {
            self.webhooks += 1;
            self.came_at = self.came_at.max(Some(stored(delivery.received_at())));
        }
    }
}

/// Deliveries that are stored together.
struct Group<'a> {
    deliveries: &'a [EncodedDelivery],
    candidates: Vec<NewEvent<'a>>,
    receipts: Vec<Receipt>,
}

/// What an app is known by.
type AppOfEvent = (Option<i64>, Option<AppHash>);

/// The candidates with a key: the newest, and each by its app.
#[derive(Default)]
struct Found {
    newest: HashMap<EventKey, usize, RandomState>,
    of_apps: HashMap<(EventKey, AppOfEvent), usize, RandomState>,
    of_app_ids: HashMap<(EventKey, i64), usize, RandomState>,
}

impl Found {
    /// The candidate that is the same as this event of this delivery.
    fn same(
        &self,
        candidates: &[NewEvent<'_>],
        deliveries: &[EncodedDelivery],
        (event, delivery): (&EventFacts, &Delivery),
        window: SignedDuration,
    ) -> Option<usize> {
        let index = *self.newest.get(&event.key)?;
        let newest = &candidates[index];
        if event.is_without_id {
            let at = deliveries[newest.delivery].delivery().received_at();
            return (delivery.received_at().duration_since(at).abs() <= window).then_some(index);
        }
        if is_same_app(newest.facts, event) {
            return Some(index);
        }
        let of_app = |app: AppOfEvent| self.of_apps.get(&(event.key, app)).copied();
        match (event.app, event.app_id) {
            // Known by its number alone.
            (None, Some(app_id)) => self.of_app_ids.get(&(event.key, app_id)).copied(),
            _ => of_app((event.app_id, event.app)).or_else(|| of_app((event.app_id, None))),
        }
    }

    fn add(&mut self, index: usize, event: &EventFacts) {
        self.newest.insert(event.key, index);
        self.of_apps.insert((event.key, (event.app_id, event.app)), index);
        if let Some(app_id) = event.app_id {
            self.of_app_ids.insert((event.key, app_id), index);
        }
    }
}

/// Whether two events may be of one app: they are, unless what is known of both differs.
fn is_same_app(one: &EventFacts, other: &EventFacts) -> bool {
    match (one.app, other.app) {
        (Some(one), Some(other)) => one == other,
        _ => one.app_id.is_none() || other.app_id.is_none() || one.app_id == other.app_id,
    }
}

impl<'a> Group<'a> {
    fn of(deliveries: &'a [EncodedDelivery], window: SignedDuration) -> Self {
        let (mut candidates, mut found) = (Vec::<NewEvent<'a>>::new(), Found::default());
        let mut receipts = Vec::with_capacity(deliveries.len());
        for (delivery, encoded) in deliveries.iter().enumerate() {
            let read = encoded.delivery();
            let events = if read.malformed().is_some() { &[] } else { read.events() };
            receipts.push(Receipt { events: vec![None; events.len()] });
            for (place, facts) in events.iter().enumerate() {
                let same = found.same(&candidates, deliveries, (facts, read), window);
                let index = same.unwrap_or(candidates.len());
                if same.is_none() {
                    found.add(index, facts);
                    candidates.push(NewEvent { delivery, place, facts, webhooks: 0, came_at: None });
                }
                candidates[index].count(read);
            }
        }
        Self { deliveries, candidates, receipts }
    }

    /// Notes what became of the candidates, and keeps those that somebody else is storing.
    fn apply(&mut self, places: &Places) {
        let Self { candidates, receipts, .. } = self;
        let mut places = places.iter();
        candidates.retain(|candidate| match places.next() {
            Some((_, Some(id))) => {
                receipts[candidate.delivery].events[candidate.place] = Some(EventSeq(*id));
                false
            }
            Some((Some(_), None)) => false,
            _ => true,
        });
    }
}

/// What the statement is given, column by column.
#[derive(Default)]
struct Rows<'a> {
    senders: Vec<&'static str>,
    received_at: Vec<i64>,
    content_types: Vec<Option<&'a str>>,
    counts: Vec<i32>,
    lengths: Vec<Option<i32>>,
    bodies: Vec<&'a [u8]>,
    vias: Vec<i16>,
    deliveries: Vec<i32>,
    starts: Vec<i32>,
    event_lengths: Vec<i32>,
    keys: Vec<&'a [u8]>,
    ids: Vec<&'a str>,
    types: Vec<Option<&'a str>>,
    app_ids: Vec<Option<i64>>,
    titles: Vec<Option<&'a str>>,
    apps: Vec<Option<i64>>,
    without_id: Vec<bool>,
    /// How many duplicates it has if it is new, and how many it is if it is not.
    again: Vec<i32>,
    counted: Vec<i32>,
    came_at: Vec<Option<i64>>,
    event_times: Vec<i64>,
    queued_at: Vec<i64>,
    routed: Vec<i32>,
    routes: Vec<i32>,
    targets: Vec<i64>,
    together: Vec<bool>,
}

impl<'a> Rows<'a> {
    fn of(group: &Group<'a>, routes: &[Route], is_again: bool) -> Self {
        let mut rows = Self::default();
        let mut last = None;
        for candidate in &group.candidates {
            if last != Some(candidate.delivery) {
                rows.add_delivery(&group.deliveries[candidate.delivery]);
                last = Some(candidate.delivery);
            }
            rows.add_event(candidate, routes);
            let is_delivered = group.deliveries[candidate.delivery].delivery().via() == Via::Webhook;
            rows.again.push(if is_delivered { candidate.webhooks - 1 } else { candidate.webhooks });
            // What is sent once more is no duplicate.
            rows.counted.push(if is_again { 0 } else { candidate.webhooks });
            rows.came_at.push(candidate.came_at);
            rows.queued_at.push(stored(group.deliveries[candidate.delivery].queued_at()));
        }
        rows
    }

    fn add_delivery(&mut self, encoded: &'a EncodedDelivery) {
        let (delivery, body) = (encoded.delivery(), encoded.body());
        self.senders.push(delivery.sender().as_str());
        self.received_at.push(stored(delivery.received_at()));
        self.content_types.push(delivery.content_type());
        self.counts.push(count(delivery.events().len()));
        self.lengths.push(body.packed_from().map(count));
        self.bodies.push(body.bytes());
        self.vias.push(encoded.via());
    }

    fn add_event(&mut self, candidate: &NewEvent<'a>, routes: &[Route]) {
        let facts = candidate.facts;
        self.deliveries.push(count(self.senders.len()));
        self.starts.push(count(facts.span.start));
        self.event_lengths.push(count(facts.span.len()));
        self.keys.push(facts.key.bytes());
        self.ids.push(&facts.id);
        self.types.push(facts.event_type.as_deref());
        self.app_ids.push(facts.app_id);
        self.titles.push(facts.title.as_deref());
        self.apps.push(facts.app.map(|app| app.0));
        self.without_id.push(facts.is_without_id);
        self.event_times.extend(self.received_at.last());
        for (index, route) in routes.iter().enumerate().filter(|(_, route)| route.accepts(facts)) {
            self.routed.push(count(self.deliveries.len()));
            self.routes.push(count(index));
            self.targets.push(route.target.0);
            self.together.push(route.together);
        }
    }

    fn values<'v>(
        &'v self,
        unreadable: &'v Unreadable<'v>,
        window: &'v i64,
    ) -> Vec<(&'v (dyn tokio_postgres::types::ToSql + Sync), tokio_postgres::types::Type)> {
        let of_deliveries = values![self.senders => TEXT_ARRAY, self.received_at => INT8_ARRAY,
            self.content_types => TEXT_ARRAY, self.counts => INT4_ARRAY, self.lengths => INT4_ARRAY,
            self.bodies => BYTEA_ARRAY];
        let of_events = values![self.deliveries => INT4_ARRAY, self.starts => INT4_ARRAY,
            self.event_lengths => INT4_ARRAY, self.keys => BYTEA_ARRAY, self.ids => TEXT_ARRAY,
            self.types => TEXT_ARRAY, self.app_ids => INT8_ARRAY, self.titles => TEXT_ARRAY, self.apps => INT8_ARRAY,
            self.without_id => BOOL_ARRAY, self.again => INT4_ARRAY];
        let of_routes = values![self.routed => INT4_ARRAY, self.routes => INT4_ARRAY, self.targets => INT8_ARRAY,
            self.together => BOOL_ARRAY, *window => INT8, self.counted => INT4_ARRAY, self.event_times => INT8_ARRAY];
        let of_others = values![unreadable.senders => TEXT_ARRAY, unreadable.received_at => INT8_ARRAY,
            unreadable.content_types => TEXT_ARRAY, unreadable.reasons => TEXT_ARRAY,
            unreadable.bodies => BYTEA_ARRAY];
        let of_polling = values![self.vias => INT2_ARRAY, self.came_at => INT8_ARRAY, self.queued_at => INT8_ARRAY];
        [&of_deliveries[..], &of_events[..], &of_routes[..], &of_others[..], &of_polling[..]].concat()
    }
}

/// Deliveries that could not be read.
#[derive(Default)]
struct Unreadable<'a> {
    senders: Vec<&'static str>,
    received_at: Vec<i64>,
    content_types: Vec<Option<&'a str>>,
    reasons: Vec<&'a str>,
    bodies: Vec<&'a [u8]>,
}

impl<'a> Unreadable<'a> {
    fn of(deliveries: &'a [EncodedDelivery]) -> Self {
        let mut rows = Self::default();
        for encoded in deliveries {
            let delivery = encoded.delivery();
            let Some(malformed) = delivery.malformed() else { continue };
            rows.senders.push(delivery.sender().as_str());
            rows.received_at.push(stored(delivery.received_at()));
            rows.content_types.push(delivery.content_type());
            rows.reasons.push(malformed.as_str());
            rows.bodies.push(encoded.body().bytes());
        }
        rows
    }
}

/// A number that is far below the limit: bodies have some megabytes, and some thousand events.
fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

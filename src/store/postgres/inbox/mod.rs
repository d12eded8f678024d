//! The inbox in a PostgreSQL schema. Any number of processes read it, receive into it and forward from it.

mod again;
mod attendance;
mod body;
mod delete;
mod fates;
mod figures;
mod forwards;
mod intake;
mod overview;
mod polling;
mod purge;
mod query;
mod requeue;
mod states;
mod targets;
mod watermark;

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use self::watermark::Watermark;
use super::fault::PostgresFault;
use super::session::{Link, ServerSession, values};
use crate::store::{
    Attendance, Backlog, ClaimRequest, Coordination, DEDUPE_WINDOW, EncodedDelivery, EventBucket, EventCount,
    EventPage, EventRecord, EventSelection, EventSeq, Events, ForwardId, ForwardLatency, ForwardRecord, Intake, Lease,
    LeaseToken, Leased, Maintenance, PurgeRule, Purged, Quarantined, Queue, Receipt, Requeued, Route, Settled,
    Settlement, StoreError, StoredDelivery, TargetId, TargetName, TargetRecord, Targets, Usage,
};

/// Settings of the server that must not be off, and what may happen then.
const UNSAFE_WHEN_OFF: [(&str, &str); 2] = [
    ("fsync", "events that were answered may be lost when its machine fails"),
    ("full_page_writes", "its tables may be damaged when its machine fails"),
];

/// The tables of the inbox, for their size.
const TABLES: [&str; 9] =
    ["deliveries", "events", "forwards", "attempts", "quarantine", "targets", "arrivals", "polls", "missed"];

/// How often arrivals are put on record: those since then are counted by whoever asks.
const ARRIVALS_INTERVAL: Duration = Duration::from_secs(30);

/// An inbox in a schema.
pub(super) struct PostgresInbox {
    session: ServerSession,
    watermark: Watermark,
    /// A purge that has not come to its end.
    purging: Option<(PurgeRule, purge::PurgeRound)>,
    /// Deliveries with no event behind this one hold no duplicates: they were looked at. An event never comes up to it later.
    blanked_up_to: Option<i64>,
    /// For how long an event of a sender that gives no ids is the same.
    dedupe_window: SignedDuration,
    /// The leases that this process has: they are given back when it ends.
    leases: HashMap<ForwardId, LeaseToken>,
    /// The name of this receiver among others, once it has one.
    receiver: Option<String>,
    max_ages: Vec<(TargetId, SignedDuration)>,
    noted_arrivals_at: Option<Instant>,
}

impl PostgresInbox {
    /// The inbox of this session, whose schema is there.
    pub(super) fn new(session: ServerSession) -> Self {
        Self {
            session,
            watermark: Watermark::default(),
            purging: None,
            blanked_up_to: None,
            dedupe_window: DEDUPE_WINDOW,
            leases: HashMap::new(),
            receiver: None,
            max_ages: Vec::new(),
            noted_arrivals_at: None,
        }
    }

    /// Puts some arrivals on record. Returns whether there are more.
    fn note_arrivals(&self) -> Result<bool, StoreError> {
        // Deliveries wait behind this: it waits for nobody.
        let Some(watermark) = self.outcome(self.watermark.so_far(&self.session))? else { return Ok(false) };
        self.outcome(polling::note_arrivals(&self.session, watermark))
    }

    /// Blanks out the duplicates that deliveries hold beside the events that are stored: those of deleted events may have
    /// come in deliveries of others. The first time all deliveries are looked at, and then those that came since.
    fn blank_duplicates(&mut self) -> Result<(), PostgresFault> {
        let watermark = self.watermark.so_far(&self.session)?;
        delete::blank_duplicates(&self.session, self.blanked_up_to)?;
        self.blanked_up_to = watermark.or(self.blanked_up_to);
        Ok(())
    }

    fn outcome<T>(&self, outcome: Result<T, PostgresFault>) -> Result<T, StoreError> {
        outcome.map_err(|fault| self.session.store_error(fault))
    }
}

impl Drop for PostgresInbox {
    fn drop(&mut self) {
        if !self.leases.is_empty() {
            let leases: Vec<Lease> = self.leases.drain().map(|(forward, token)| Lease { forward, token }).collect();
            // Those that cannot be given back expire.
            let _ = forwards::release(&self.session, &leases);
        }
        if let Some(receiver) = &self.receiver {
            let _ = attendance::leave(&self.session, receiver);
        }
    }
}

impl Intake for PostgresInbox {
    fn dedupe_within(&mut self, window: SignedDuration) {
        self.dedupe_window = window;
    }

    fn commit(&mut self, deliveries: &[EncodedDelivery], routes: &[Route]) -> Result<Vec<Receipt>, StoreError> {
        self.outcome(intake::commit(&self.session, self.dedupe_window, deliveries, routes))
    }

    fn probe(&mut self, now: Timestamp, _bytes: u64) -> Result<bool, StoreError> {
        let sql = "INSERT INTO @probe (id, at) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET at = excluded.at";
        let probe = self.session.once(async |link| link.commit_one(sql, values![stored(now) => INT8]).await);
        // How much room the server has is for the server to know.
        self.outcome(probe.map(|_| true))
    }
}

impl Queue for PostgresInbox {
    fn targets(&mut self, names: &[TargetName]) -> Result<Vec<TargetId>, StoreError> {
        self.outcome(forwards::targets(&self.session, names))
    }

    fn claim(
        &mut self,
        target: TargetId,
        request: ClaimRequest,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<Leased>, StoreError> {
        let claimed = self.outcome(forwards::claim(&self.session, target, request, now, lease))?;
        self.leases.extend(claimed.iter().map(|leased| (leased.forward.id, leased.token)));
        Ok(claimed)
    }

    fn renew(&mut self, leases: &[Lease], now: Timestamp, lease: Duration) -> Result<Vec<Lease>, StoreError> {
        let lost = self.outcome(forwards::renew(&self.session, leases, now, lease))?;
        for lease in &lost {
            self.leases.remove(&lease.forward);
        }
        Ok(lost)
    }

    fn settle(&mut self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        let settled = self.outcome(forwards::settle(&self.session, settlements))?;
        for settlement in settlements {
            self.leases.remove(&settlement.lease.forward);
        }
        Ok(settled)
    }

    fn release(&mut self, leases: &[Lease]) -> Result<(), StoreError> {
        for lease in leases {
            self.leases.remove(&lease.forward);
        }
        self.outcome(forwards::release(&self.session, leases))
    }

    fn next_due(&self, target: TargetId, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.outcome(forwards::next_due(&self.session, target, now))
    }

    fn set_max_ages(&mut self, ages: Vec<(TargetId, SignedDuration)>) {
        self.max_ages = ages;
    }

    fn expire(&mut self, queued_before: Timestamp, now: Timestamp) -> Result<Vec<(String, u64)>, StoreError> {
        let before =
            |(target, age): &(TargetId, SignedDuration)| (*target, now.checked_sub(*age).unwrap_or(Timestamp::MIN));
        let of_targets: Vec<_> = self.max_ages.iter().map(before).collect();
        self.outcome(forwards::expire(&self.session, queued_before, &of_targets, now))
    }
}

impl Coordination for PostgresInbox {
    fn attend(&mut self) -> Result<Attendance, StoreError> {
        let receiver = self.receiver.get_or_insert_with(attendance::new_name).clone();
        self.outcome(attendance::attend(&self.session, &receiver))
    }

    fn hold(&mut self, target: TargetId, until: Option<Timestamp>) -> Result<(), StoreError> {
        self.outcome(targets::hold(&self.session, target, until))
    }
}

impl Events for PostgresInbox {
    fn events(
        &self,
        selection: &EventSelection,
        page: EventPage,
        each: &mut dyn FnMut(EventRecord) -> bool,
    ) -> Result<Option<EventSeq>, StoreError> {
        self.outcome(query::events(&self.session, selection, page, each))
    }

    fn watermark(&self) -> Result<EventSeq, StoreError> {
        self.outcome(self.watermark.get(&self.session)).map(EventSeq)
    }

    fn count_events(&self, selection: &EventSelection) -> Result<Vec<EventCount>, StoreError> {
        self.outcome(query::count(&self.session, selection))
    }

    fn histogram(
        &self,
        since: Timestamp,
        until: Timestamp,
        step: SignedDuration,
    ) -> Result<Vec<EventBucket>, StoreError> {
        self.outcome(figures::histogram(&self.session, (since, until), step))
    }

    fn forward_latency(&self, since: Timestamp) -> Result<Option<ForwardLatency>, StoreError> {
        self.outcome(figures::forward_latency(&self.session, since))
    }

    fn delivery_of(&self, event: EventSeq) -> Result<Option<StoredDelivery>, StoreError> {
        self.outcome(figures::delivery_of(&self.session, event))
    }

    fn quarantined(&self, number: Option<i64>, limit: Option<u64>) -> Result<Vec<Quarantined>, StoreError> {
        self.outcome(overview::quarantined(&self.session, number, limit))
    }

    fn backlog(&self) -> Result<Backlog, StoreError> {
        self.outcome(overview::backlog(&self.session))
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        self.session.run(async |link| {
            let quarantined = link.number("SELECT count(*) FROM @quarantine", values![]).await?;
            let bytes = bytes(link).await?;
            Ok(Usage { bytes, free_bytes: None, quarantined: unsigned(quarantined) })
        })
    }

    fn warnings(&self) -> Result<Vec<String>, StoreError> {
        self.session.run(async |link| {
            let mut warnings = Vec::new();
            for (setting, loss) in &UNSAFE_WHEN_OFF {
                let sql = "SELECT current_setting($1) = 'off'";
                if link.row(sql, values![setting => TEXT]).await?.is_some_and(|row| row.get(0)) {
                    warnings.push(format!("{setting} is off in the server: {loss}"));
                }
            }
            Ok(warnings)
        })
    }
}

impl Targets for PostgresInbox {
    fn target_records(&self) -> Result<Vec<TargetRecord>, StoreError> {
        self.outcome(targets::records(&self.session))
    }

    fn forwards_of(&self, event: EventSeq) -> Result<Vec<ForwardRecord>, StoreError> {
        self.outcome(targets::forwards_of(&self.session, event))
    }

    fn pause_target(&mut self, target: TargetId, now: Timestamp) -> Result<bool, StoreError> {
        self.outcome(targets::pause(&self.session, target, now))
    }

    fn resume_target(&mut self, target: TargetId, now: Timestamp) -> Result<bool, StoreError> {
        self.outcome(targets::resume(&self.session, target, now))
    }

    fn drop_pending(&mut self, target: TargetId, now: Timestamp) -> Result<u64, StoreError> {
        self.outcome(targets::drop_pending(&self.session, target, now))
    }
}

impl Maintenance for PostgresInbox {
    fn purge(&mut self, rule: &PurgeRule) -> Result<Purged, StoreError> {
        let begun = self.purging.take().filter(|(begun, _)| begun == rule);
        let mut reached = begun.map(|(_, reached)| reached).unwrap_or_default();
        let purged = self.outcome(purge::step(&self.session, rule, &mut reached))?;
        self.purging = purged.more.then_some((*rule, reached));
        Ok(purged)
    }

    fn requeue(&mut self, selection: &EventSelection, now: Timestamp) -> Result<Requeued, StoreError> {
        self.outcome(requeue::requeue(&self.session, selection, now))
    }

    fn forward_again(&mut self, events: &[EventSeq], target: TargetId, now: Timestamp) -> Result<u64, StoreError> {
        self.outcome(again::forward_again(&self.session, events, target, now))
    }

    fn delete(&mut self, events: &[EventSeq]) -> Result<u64, StoreError> {
        // Before the events go, too: whoever repeats what was cut short finds them, and with them their copies.
        let blanked = self.blank_duplicates();
        self.outcome(blanked)?;
        let deleted = self.outcome(delete::delete(&self.session, events))?;
        let blanked = self.blank_duplicates();
        self.outcome(blanked)?;
        Ok(deleted)
    }

    /// The server's disk is for its operator to watch.
    fn keep_reserve(&mut self, _bytes: u64) -> Result<(), StoreError> {
        Ok(())
    }

    /// What autovacuum does not do.
    fn maintain(&mut self) -> Result<bool, StoreError> {
        if self.noted_arrivals_at.is_some_and(|at| at.elapsed() < ARRIVALS_INTERVAL) {
            return Ok(false);
        }
        let more = self.note_arrivals()?;
        self.noted_arrivals_at = (!more).then(Instant::now);
        Ok(more)
    }

    /// Reads all that there is once; what a server keeps beside that is for `pg_amcheck`.
    fn check(&self) -> Result<(), StoreError> {
        self.session.run(async |link| {
            for table in TABLES {
                link.number(&format!("SELECT count(t.*) FROM @{table} t"), values![]).await?;
            }
            Ok(())
        })
    }
}

/// What the inbox takes up on the server's disk.
pub(super) async fn bytes(link: &Link) -> Result<u64, PostgresFault> {
    let tables: Vec<String> = TABLES.iter().map(|table| link.table(table)).collect();
    let sql = "SELECT sum(pg_total_relation_size(t::regclass))::bigint FROM unnest($1::text[]) AS t";
    Ok(unsigned(link.number(sql, values![tables => TEXT_ARRAY]).await?))
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A time as it is stored.
fn stored(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// A time that was stored.
fn time(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or_default()
}

/// A text that the server takes: it has no NUL characters.
pub(super) fn sendable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

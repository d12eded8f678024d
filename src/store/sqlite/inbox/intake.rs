//! Storing deliveries: many of them in one commit.

use std::path::Path;

use rusqlite::{CachedStatement, Connection, params};

use super::known::{DuplicateFinder, Place};
use super::receiving::Receiving;
use super::stored;
use crate::domain::delivery::{Delivery, Via};
use crate::domain::event::EventFacts;
use crate::store::sqlite::fault::StoreFault;
use crate::store::{EncodedDelivery, EventSeq, Receipt, Route};

const INSERT_DELIVERY: &str =
    "INSERT INTO deliveries (id, sender, received_at, content_type, events, first_event, last_event, length, body, via)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

const INSERT_EVENT: &str =
    "INSERT INTO events (id, delivery, start, length, key, event_id, type, app_id, title, app, previous)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// Stores them all, or nothing.
pub(super) fn commit(
    connection: &Connection,
    path: &Path,
    receiving: &mut Receiving,
    deliveries: &[EncodedDelivery],
    routes: &[Route],
) -> Result<Vec<Receipt>, StoreFault> {
    receiving.check_file(path)?;
    let events = deliveries.iter().map(|delivery| delivery.delivery().events().len()).sum();
    let mut group = CommitGroup {
        connection,
        known: DuplicateFinder::new(&receiving.known, receiving.dedupe_window, receiving.next_event, events),
        routes,
        insert_delivery: connection.prepare_cached(INSERT_DELIVERY)?,
        insert_event: connection.prepare_cached(INSERT_EVENT)?,
        next_delivery: receiving.next_delivery,
        next_forward: receiving.next_forward,
    };
    let receipts = super::super::commit(connection, |_| {
        group.pass_forwards()?;
        deliveries.iter().map(|delivery| group.store(delivery)).collect::<Result<Vec<_>, _>>()
    })?;
    let CommitGroup { known, next_delivery, next_forward, .. } = group;
    let (new, next_event) = known.end();
    (receiving.next_delivery, receiving.next_event) = (next_delivery, next_event);
    receiving.next_forward = next_forward;
    receiving.known.add(new);
    Ok(receipts)
}

/// What is being committed together.
struct CommitGroup<'a, 'c> {
    connection: &'c Connection,
    known: DuplicateFinder<'a>,
    routes: &'a [Route],
    insert_delivery: CachedStatement<'c>,
    insert_event: CachedStatement<'c>,
    next_delivery: i64,
    next_forward: i64,
}

impl CommitGroup<'_, '_> {
    /// Other processes may have made forwards too.
    fn pass_forwards(&mut self) -> Result<(), StoreFault> {
        let last = "SELECT coalesce(max(id), 0) FROM forwards";
        let last: i64 = self.connection.prepare_cached(last)?.query_row([], |row| row.get(0))?;
        self.next_forward = self.next_forward.max(last + 1);
        Ok(())
    }

    fn store(&mut self, encoded: &EncodedDelivery) -> Result<Receipt, StoreFault> {
        let delivery = encoded.delivery();
        if let Some(malformed) = delivery.malformed() {
            self.quarantine(encoded, malformed.as_str())?;
            return Ok(Receipt::default());
        }
        if let Some(number) = encoded.quarantined()
            && !self.leave_quarantine(number)?
        {
            return Ok(Receipt { events: vec![None; delivery.events().len()] });
        }
        let mut receipt = Receipt { events: Vec::with_capacity(delivery.events().len()) };
        let mut again = Vec::new();
        for event in delivery.events() {
            match self.known.place(self.connection, event, delivery.received_at())? {
                Place::Duplicate(id) => {
                    again.push(id);
                    receipt.events.push(None);
                }
                Place::New(id) => receipt.events.push(Some(EventSeq(id))),
            }
        }
        if receipt.stored() > 0 {
            self.insert(encoded, &receipt)?;
        }
        // Only now: what came twice in this delivery was not there before.
        for id in again {
            self.note_duplicate(id, delivery)?;
        }
        Ok(receipt)
    }

    /// What polling finds again is no duplicate; what a webhook brings after polling tells that its hook works.
    fn note_duplicate(&self, id: i64, delivery: &Delivery) -> Result<(), StoreFault> {
        if delivery.via() != Via::Webhook {
            return Ok(());
        }
        let count = "UPDATE events SET duplicates = duplicates + 1, came_at = CASE
                         WHEN (SELECT via FROM deliveries d WHERE d.id = delivery) > 0
                         THEN max(coalesce(came_at, ?1), ?1) END WHERE id = ?2";
        self.connection.prepare_cached(count)?.execute([stored(delivery.received_at()), id])?;
        Ok(())
    }

    fn insert(&mut self, encoded: &EncodedDelivery, receipt: &Receipt) -> Result<(), StoreFault> {
        let delivery = encoded.delivery();
        let new = || delivery.events().iter().zip(&receipt.events).filter_map(|(event, seq)| Some(((*seq)?.0, event)));
        let id = self.next_delivery;
        self.next_delivery += 1;
        let at = stored(delivery.received_at());
        let count = i64::try_from(delivery.events().len()).unwrap_or(i64::MAX);
        let sender = delivery.sender().as_str();
        let (first, last) = (new().next().map_or(0, |(id, _)| id), new().next_back().map_or(0, |(id, _)| id));
        let body = encoded.body();
        let length = body.packed_from().map(bytes);
        let values =
            params![id, sender, at, delivery.content_type(), count, first, last, length, body.bytes(), encoded.via()];
        self.insert_delivery.execute(values)?;
        for (event_id, event) in new() {
            let (start, length) = (bytes(event.span.start), bytes(event.span.len()));
            let EventFacts { id: name, key, event_type, app_id, app, title, .. } = event;
            self.insert_event.execute(params![
                event_id,
                id,
                start,
                length,
                key.bytes(),
                name,
                event_type,
                app_id,
                title,
                app.map(|app| app.0),
                self.known.previous(event_id),
            ])?;
        }
        if self.routes.is_empty() {
            return Ok(());
        }
        let queued_at = stored(encoded.queued_at());
        let (ids, events): (Vec<i64>, Vec<&EventFacts>) = new().unzip();
        let sql = "INSERT INTO forwards (id, target, delivery, first_event, last_event, queued_at)
                   VALUES (?, ?, ?, ?, ?, ?)";
        let mut statement = self.connection.prepare_cached(sql)?;
        for route in self.routes {
            for (first, last) in route.forwards(&events) {
                statement.execute(params![self.next_forward, route.target.0, id, ids[first], ids[last], queued_at])?;
                self.next_forward += 1;
            }
        }
        Ok(())
    }

    /// Removes a delivery that is read again. Returns whether it was still there: somebody else may have done it by now.
    fn leave_quarantine(&self, number: i64) -> Result<bool, StoreFault> {
        Ok(self.connection.prepare_cached("DELETE FROM quarantine WHERE id = ?")?.execute([number])? > 0)
    }

    fn quarantine(&self, encoded: &EncodedDelivery, reason: &str) -> Result<(), StoreFault> {
        let delivery = encoded.delivery();
        let sql = "INSERT INTO quarantine (sender, received_at, content_type, reason, body) VALUES (?, ?, ?, ?, ?)";
        let at = stored(delivery.received_at());
        let values = params![delivery.sender().as_str(), at, delivery.content_type(), reason, encoded.body().bytes()];
        self.connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }
}

fn bytes(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

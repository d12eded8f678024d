//! Deliveries that other processes hand over to the one that receives.

use rusqlite::{OptionalExtension, Row, params};

use super::{SqliteInbox, query, stored, time};
use crate::domain::AppId;
use crate::store::codec::{read_via, stored_via};
use crate::store::sqlite::fault::StoreFault;
use crate::store::{HandOver, HandedOver, Recipients, StoreError, TargetId};

/// How many receipts are kept that nobody asked for: whoever did the handing over has ended.
const KEPT_RECEIPTS: i64 = 1000;

/// How recipients are stored: whether they are those of the routes, and which one else.
fn stored_recipients(recipients: Recipients) -> (bool, Option<i64>) {
    match recipients {
        Recipients::Nobody => (false, None),
        Recipients::Routed => (true, None),
        Recipients::One(TargetId(target)) => (false, Some(target)),
    }
}

fn handed(row: &Row<'_>) -> Result<HandedOver, StoreFault> {
    let recipients = match (row.get(4)?, row.get(5)?) {
        (_, Some(target)) => Recipients::One(TargetId(target)),
        (true, None) => Recipients::Routed,
        (false, None) => Recipients::Nobody,
    };
    Ok(HandedOver {
        number: row.get(0)?,
        sender: query::sender(&row.get::<_, String>(1)?)?,
        via: read_via(row.get(2)?),
        app: AppId::new(row.get(3)?),
        recipients,
        received_at: time(row.get(6)?),
        content_type: row.get(7)?,
        quarantined: row.get(8)?,
        body: row.get(9)?,
    })
}

impl HandOver for SqliteInbox {
    fn hand_over(&mut self, delivery: &HandedOver) -> Result<i64, StoreError> {
        let HandedOver { sender, via, app, received_at, content_type, quarantined, recipients, body, .. } = delivery;
        let (forward, target) = stored_recipients(*recipients);
        let app = app.map_or(0, AppId::get);
        self.write(|connection| {
            let sql = "INSERT INTO handed_over
                           (sender, via, app_id, forward, target, received_at, content_type, quarantined, body)
                       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
            let (sender, via, at) = (sender.as_str(), stored_via(*via), stored(*received_at));
            connection.execute(sql, params![sender, via, app, forward, target, at, content_type, quarantined, body])?;
            Ok(connection.last_insert_rowid())
        })
    }

    fn take_receipt(&mut self, number: i64) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT stored FROM handed_over WHERE id = ?";
        let receipt: Option<i64> = self.read(|connection| {
            Ok(connection.prepare_cached(sql)?.query_row([number], |row| row.get(0)).optional()?.flatten())
        })?;
        if receipt.is_some() {
            self.write(|connection| Ok(connection.execute("DELETE FROM handed_over WHERE id = ?", [number])?))?;
        }
        Ok(receipt.map(|stored| u64::try_from(stored).unwrap_or(0)))
    }

    fn next_handed_over(&mut self) -> Result<Option<HandedOver>, StoreError> {
        let sql = "SELECT id, sender, via, app_id, forward, target, received_at, content_type, quarantined, body
                   FROM handed_over WHERE stored IS NULL ORDER BY id LIMIT 1";
        self.read(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([])?;
            rows.next()?.map(handed).transpose()
        })
    }

    fn note_taken(&mut self, number: i64, new: u64) -> Result<(), StoreError> {
        let new = i64::try_from(new).unwrap_or(i64::MAX);
        self.write(|connection| {
            connection.execute("UPDATE handed_over SET stored = ?, body = x'' WHERE id = ?", params![new, number])?;
            let old = "DELETE FROM handed_over WHERE stored IS NOT NULL AND id <= ?";
            connection.execute(old, [number - KEPT_RECEIPTS])?;
            Ok(())
        })
    }
}

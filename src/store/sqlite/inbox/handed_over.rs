//! Polled events that other processes hand over to the one that receives.

use rusqlite::{OptionalExtension, Row, params};

use super::{SqliteInbox, stored, time};
use crate::domain::AppId;
use crate::store::sqlite::fault::{Problem, StoreFault};
use crate::store::{HandOver, HandedOver, StoreError};

/// How many receipts are kept that nobody asked for: whoever did the handing over has ended.
const KEPT_RECEIPTS: i64 = 1000;

impl HandOver for SqliteInbox {
    fn hand_over(&mut self, events: &HandedOver) -> Result<i64, StoreError> {
        let HandedOver { app, received_at, forward, body, .. } = events;
        self.write(|connection| {
            let sql = "INSERT INTO handed_over (app_id, received_at, forward, body) VALUES (?, ?, ?, ?)";
            connection.execute(sql, params![app.get(), stored(*received_at), forward, body])?;
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
        let sql =
            "SELECT id, app_id, received_at, forward, body FROM handed_over WHERE stored IS NULL ORDER BY id LIMIT 1";
        let handed =
            |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get(2)?, row.get::<_, bool>(3)?, row.get(4)?));
        self.read(|connection| {
            let found = connection.prepare_cached(sql)?.query_row([], handed).optional()?;
            let Some((number, app, received_at, forward, body)) = found else { return Ok(None) };
            let app = AppId::new(app).ok_or(StoreFault::Problem(Problem::Damaged))?;
            Ok(Some(HandedOver { number, app, received_at: time(received_at), forward, body }))
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

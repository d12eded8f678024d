//! Reading rows.

use std::collections::HashMap;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, Params, Row};

use super::super::fault::StoreFault;
use super::super::owners::Owners;
use crate::domain::{
    ApiOrigin, AppId, EventKind, HookId, HookRecord, HookStatus, Label, ManifestName, RowId, Subscription, TargetUrl,
};
use crate::store::registry_rules::FoundRow;

/// The columns that [`Reader::record`] reads, in its order.
const COLUMNS: &str = "id, api_url, hook_id, app_id, event, target_url, status, label, owner, reason, created_at, updated_at, \
     managed_by, replaces";

/// Reads rows. Remembers what many rows have in common, and which processes live.
pub(super) struct Reader<'a> {
    pub(super) connection: &'a Connection,
    owners: &'a Owners,
    origin: Option<(String, ApiOrigin)>,
    event: Option<(String, EventKind)>,
    status: Option<(String, HookStatus)>,
    alive: HashMap<String, bool>,
    /// Whether all owners were asked for at the beginning: one that is not known came later, and so is alive.
    asked: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(connection: &'a Connection, owners: &'a Owners) -> Self {
        let alive = HashMap::new();
        Self { connection, owners, origin: None, event: None, status: None, alive, asked: false }
    }

    /// Calls `each` with the rows that a condition and its order select.
    pub(super) fn each(
        &mut self,
        condition: &str,
        params: impl Params,
        mut each: impl FnMut(FoundRow),
    ) -> Result<(), StoreFault> {
        let connection = self.connection;
        let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM hooks {condition}"))?;
        let mut rows = statement.query(params)?;
        while let Some(row) = rows.next()? {
            each(self.found(row)?);
        }
        Ok(())
    }

    /// All of them.
    pub(super) fn all(&mut self, condition: &str, params: impl Params) -> Result<Vec<FoundRow>, StoreFault> {
        let mut found = Vec::new();
        self.each(condition, params, |row| found.push(row))?;
        Ok(found)
    }

    /// Changes the row whose number is the first parameter and gives it back, if it is there.
    ///
    /// Two statements, as SQLite's `RETURNING` makes a temporary table, which costs more than looking the row up.
    pub(super) fn change(
        &mut self,
        row: RowId,
        change: &str,
        params: impl Params,
    ) -> Result<Option<HookRecord>, StoreFault> {
        self.set(change, params)?;
        Ok(self.row(row)?.map(|found| found.record))
    }

    /// Changes the row whose number is the first parameter, if it is there.
    pub(super) fn set(&self, change: &str, params: impl Params) -> Result<(), StoreFault> {
        let sql = format!("UPDATE hooks SET {change} WHERE id = ?1");
        self.connection.prepare_cached(&sql)?.execute(params)?;
        Ok(())
    }

    /// The row of that number, if it is still there.
    pub(super) fn row(&mut self, row: RowId) -> Result<Option<FoundRow>, StoreFault> {
        Ok(self.all("WHERE id = ?1", [row.0])?.pop())
    }

    /// The row that holds this hook: of several the one that has not ended, or else the newest.
    pub(super) fn hook(&mut self, origin: &ApiOrigin, hook: HookId) -> Result<Option<FoundRow>, StoreFault> {
        let holders = "WHERE api_url = ?1 AND hook_id = ?2 ORDER BY status NOT IN ('removed', 'gone'), id";
        Ok(self.all(holders, (origin.as_str(), hook.get()))?.pop())
    }

    fn found(&mut self, row: &Row<'_>) -> Result<FoundRow, StoreFault> {
        let mut record = self.record(row)?;
        // Nearly all rows are at rest: what only the others have is not even looked at.
        let owner: Option<String> = match record.status {
            HookStatus::Pending | HookStatus::Removing => row.get(8)?,
            _ => None,
        };
        let in_progress = owner.map_or(Ok(false), |owner| self.is_alive(owner))?;
        if matches!(record.status, HookStatus::Unknown | HookStatus::Removing) {
            record.reason = row.get(9)?;
        }
        Ok(FoundRow::new(record, in_progress))
    }

    fn record(&mut self, row: &Row<'_>) -> Result<HookRecord, rusqlite::Error> {
        let hook_id: Option<i64> = row.get(2)?;
        Ok(HookRecord {
            row: RowId(row.get(0)?),
            hook_id: hook_id.and_then(HookId::new),
            subscription: Subscription {
                origin: text(row, 1, &mut self.origin)?,
                app_id: number(row, 3, AppId::new)?,
                event: text(row, 4, &mut self.event)?,
                target_url: TargetUrl::from_stored(row.get(5)?),
            },
            status: text(row, 6, &mut self.status)?,
            label: row.get::<_, Option<String>>(7)?.map(Label::from_stored),
            managed_by: row.get::<_, Option<String>>(12)?.map(ManifestName::from_stored),
            replaces: row.get::<_, Option<i64>>(13)?.and_then(HookId::new),
            reason: None,
            created_at: time(row, 10)?,
            updated_at: time(row, 11)?,
        })
    }

    /// Finds out which processes live, before any row is read.
    pub(super) fn ask_owners(&mut self) -> Result<(), StoreFault> {
        let mut statement =
            self.connection.prepare_cached("SELECT DISTINCT owner FROM hooks WHERE owner IS NOT NULL")?;
        let owners: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for owner in owners {
            self.is_alive(owner)?;
        }
        self.asked = true;
        Ok(())
    }

    fn is_alive(&mut self, owner: String) -> Result<bool, StoreFault> {
        if let Some(&alive) = self.alive.get(&owner) {
            return Ok(alive);
        }
        if self.asked {
            return Ok(true);
        }
        let alive = self.owners.is_alive(&owner)?;
        self.alive.insert(owner, alive);
        Ok(alive)
    }
}

/// What a column says. `last` is what it was in the row before, and what that says: most rows of a list have the same.
pub(super) fn text<T: Clone + FromStr<Err = crate::error::Error>>(
    row: &Row<'_>,
    column: usize,
    last: &mut Option<(String, T)>,
) -> Result<T, rusqlite::Error> {
    let stored = row.get_ref(column)?;
    if let Some((text, value)) = last
        && stored.as_bytes()? == text.as_bytes()
    {
        return Ok(value.clone());
    }
    let text = stored.as_str()?;
    let value: T = text.parse().map_err(|error: crate::error::Error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })?;
    Ok(last.insert((text.to_owned(), value)).1.clone())
}

/// A number that `make` takes.
pub(super) fn number<T>(row: &Row<'_>, column: usize, make: impl Fn(i64) -> Option<T>) -> Result<T, rusqlite::Error> {
    let number = row.get(column)?;
    make(number).ok_or_else(|| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

pub(super) fn time(row: &Row<'_>, column: usize) -> Result<Timestamp, rusqlite::Error> {
    number(row, column, |seconds| Timestamp::from_second(seconds).ok())
}

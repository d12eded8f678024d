//! Who applies which manifest. A lock names its process, and is free as soon as that has ended, however it did.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::super::fault::StoreFault;
use super::SqliteRegistry;
use super::rows::time;
use crate::domain::{ApiOrigin, ManifestName};
use crate::store::{Actor, ManifestLock};

const HOLDER: &str = "SELECT owner, actor, since FROM manifest_locks WHERE api_url = ?1 AND name = ?2";

impl SqliteRegistry {
    /// Takes the lock, unless a living process has it.
    pub(super) fn take_lock(
        &self,
        connection: &Connection,
        origin: &ApiOrigin,
        name: &ManifestName,
        now: Timestamp,
    ) -> Result<ManifestLock, StoreFault> {
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, time(row, 2)?));
        let holder = connection.query_row(HOLDER, (origin.as_str(), name.as_str()), read).optional()?;
        let own = self.owners.own()?;
        if let Some((owner, actor, since)) = holder
            && owner != own
            && self.owners.is_alive(&owner)?
        {
            return Ok(ManifestLock::HeldBy { actor: Actor::new(actor), since, free_at: None });
        }
        let sql =
            "INSERT OR REPLACE INTO manifest_locks (api_url, name, owner, actor, since) VALUES (?1, ?2, ?3, ?4, ?5)";
        let values = params![origin.as_str(), name.as_str(), own, self.actor.as_str(), now.as_second()];
        connection.execute(sql, values)?;
        Ok(ManifestLock::Granted)
    }

    /// Whether this process has the lock: it has for as long as it lives.
    pub(super) fn has_lock(&self, origin: &ApiOrigin, name: &ManifestName) -> Result<bool, StoreFault> {
        let holder = self.connection.query_row(HOLDER, (origin.as_str(), name.as_str()), |row| row.get(0));
        let holder: Option<String> = holder.optional()?;
        Ok(holder.is_some_and(|holder| self.owners.own().is_ok_and(|own| own == holder)))
    }

    /// Gives the lock back, if this process has it.
    pub(super) fn free_lock(
        &self,
        connection: &Connection,
        origin: &ApiOrigin,
        name: &ManifestName,
    ) -> Result<(), StoreFault> {
        let sql = "DELETE FROM manifest_locks WHERE api_url = ?1 AND name = ?2 AND owner = ?3";
        connection.execute(sql, (origin.as_str(), name.as_str(), self.owners.own()?))?;
        Ok(())
    }
}

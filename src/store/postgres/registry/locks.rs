//! Who applies which manifest. A lock has its holder for a time, by the clock of the server, and is renewed.

use jiff::Timestamp;

use super::super::fault::PostgresFault;
use super::super::session::{Link, values};
use super::PostgresRegistry;
use super::rows::{second, time};
use crate::domain::{ApiOrigin, ManifestName};
use crate::store::{Actor, ManifestLock};

/// How long a lock is its holder's without being renewed.
const HELD: &str = "now() + interval '30 seconds'";

impl PostgresRegistry {
    /// Takes the lock, unless somebody has it. Whoever had it, and has not said for so long that it lives, is taken for dead:
    /// what it was at work on is in doubt at once.
    pub(super) async fn take_lock(
        &self,
        link: &Link,
        origin: &ApiOrigin,
        name: &ManifestName,
        now: Timestamp,
    ) -> Result<ManifestLock, PostgresFault> {
        let sql = format!(
            "INSERT INTO @manifest_locks AS held (api_url, name, owner, actor, since, owned_until)
             VALUES ($1, $2, $3, $4, $5, {HELD})
             ON CONFLICT (api_url, name) DO UPDATE SET owner = excluded.owner, actor = excluded.actor,
                 since = excluded.since, owned_until = excluded.owned_until
             WHERE held.owned_until <= now() OR held.owner = excluded.owner"
        );
        let values = values![origin.as_str() => TEXT, name.as_str() => TEXT, self.owner => TEXT,
            self.actor.as_str() => TEXT, time(now) => INT8];
        let dead = "SELECT owner FROM @manifest_locks
                    WHERE api_url = $1 AND name = $2 AND owner <> $3 AND owned_until <= now() FOR UPDATE";
        let holder = "SELECT actor, since, (extract(epoch FROM owned_until) * 1000000)::int8 FROM @manifest_locks
                      WHERE api_url = $1 AND name = $2";
        loop {
            let dead = link.row(dead, &values[..3]).await?;
            if link.execute(&sql, values).await? > 0 {
                if let Some(dead) = dead {
                    let freed = "UPDATE @hooks SET owned_until = now() WHERE owner = $1 AND owned_until > now()";
                    link.execute(freed, values![dead.try_get::<_, String>(0)? => TEXT]).await?;
                }
                return Ok(ManifestLock::Granted);
            }
            // None if it was given back in between.
            if let Some(holder) = link.row(holder, &values[..2]).await? {
                let actor = Actor::new(holder.try_get::<_, String>(0)?);
                let (since, free_at) = (second(holder.try_get(1)?)?, second(holder.try_get(2)?)?);
                return Ok(ManifestLock::HeldBy { actor, since, free_at: Some(free_at) });
            }
        }
    }

    /// Keeps the lock for longer, if this process has it.
    pub(super) async fn renew_lock(
        &self,
        link: &Link,
        origin: &ApiOrigin,
        name: &ManifestName,
    ) -> Result<bool, PostgresFault> {
        let sql =
            format!("UPDATE @manifest_locks SET owned_until = {HELD} WHERE api_url = $1 AND name = $2 AND owner = $3");
        let values = values![origin.as_str() => TEXT, name.as_str() => TEXT, self.owner => TEXT];
        Ok(link.execute(&sql, values).await? > 0)
    }

    /// Gives the lock back, if this process has it.
    pub(super) async fn free_lock(
        &self,
        link: &Link,
        origin: &ApiOrigin,
        name: &ManifestName,
    ) -> Result<(), PostgresFault> {
        let sql = "DELETE FROM @manifest_locks WHERE api_url = $1 AND name = $2 AND owner = $3";
        link.execute(sql, values![origin.as_str() => TEXT, name.as_str() => TEXT, self.owner => TEXT]).await?;
        Ok(())
    }
}

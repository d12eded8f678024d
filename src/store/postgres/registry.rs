//! The registry in a PostgreSQL schema: each change is one transaction.
//!
//! Who is at work on a row has it for a time, by the clock of the server. When that is over, the row is in doubt: whatever
//! became of the process, nobody else may send the same request, but anybody may find out what it made.

mod batch;
mod changes;
mod history;
mod locks;
mod restore;
mod rows;

use std::cell::Cell;

use jiff::Timestamp;

use self::changes::Changes;
use self::rows::{found, row};
use super::fault::PostgresFault;
use super::session::{Link, ServerSession, values};
use crate::domain::{ApiOrigin, HookId, HookRecord, Label, ManifestName, RowId, Subscription};
use crate::store::error::Rule;
use crate::store::registry_rules::{Ending, FoundRow, conflict_among, ending_of, is_replaceable, replaced_elsewhere};
use crate::store::{
    Action, Activated, Actor, Change, Conflict, ManifestLock, OwnershipChange, Registry, RelatedRow, Removal,
    RemovalReservation, Reservation, Restored, StoreError, SubscriptionEnd, SubscriptionIntent,
};

/// The order of [`Registry::hooks`].
const ORDER: &str = "ORDER BY api_url, app_id, event, target_url, id";

/// A registry in a schema.
pub(super) struct PostgresRegistry {
    session: ServerSession,
    /// This process, as it is named in rows.
    owner: String,
    /// Who it works for, as the history names them.
    actor: Actor,
    /// Whether it has begun anything.
    has_begun: Cell<bool>,
}

impl PostgresRegistry {
    /// The registry of this session, whose schema is there.
    pub(super) fn new(session: ServerSession, actor: Actor) -> Self {
        let owner = std::iter::repeat_with(fastrand::alphanumeric).take(16).collect();
        Self { session, owner, actor, has_begun: Cell::new(false) }
    }

    fn changes<'a>(&'a self, link: &'a Link) -> Changes<'a> {
        Changes { link, actor: &self.actor, owner: &self.owner }
    }
}

/// What a process was at work on when it ended is in doubt at once.
impl Drop for PostgresRegistry {
    fn drop(&mut self) {
        if !self.has_begun.get() {
            return;
        }
        let sql = "WITH freed AS (DELETE FROM @manifest_locks WHERE owner = $1)
                   UPDATE @hooks SET owned_until = now() WHERE owner = $1 AND owned_until > now()";
        // If it fails, it is in doubt when its time is over.
        let _ = self.session.once(async |link| link.execute(sql, values![self.owner => TEXT]).await);
    }
}

/// Keeps others from subscribing to the same until this transaction ends.
async fn lock(link: &Link, wanted: &Subscription) -> Result<(), PostgresFault> {
    let sql = "SELECT pg_catalog.pg_advisory_xact_lock_shared(pg_catalog.hashtextextended($1, 0)),
                      pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($2, $3))";
    let name = format!("{}{}{}", link.schema(), wanted.origin.as_str(), wanted.event.as_str());
    let values = values![whole_registry(link) => TEXT, name => TEXT, wanted.app_id.get() => INT8];
    link.rows(sql, values).await?;
    Ok(())
}

/// Keeps others from subscribing to anything until this transaction ends. One lock: a server has room for few thousands.
async fn lock_all(link: &Link) -> Result<(), PostgresFault> {
    let sql = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))";
    link.rows(sql, values![whole_registry(link) => TEXT]).await?;
    Ok(())
}

/// The name of the lock that everybody shares who locks a subscription.
fn whole_registry(link: &Link) -> String {
    format!("{} registry", link.schema())
}

/// The rows of one endpoint that are not known to be over, oldest first.
async fn alike(link: &Link, wanted: &Subscription) -> Result<Vec<FoundRow>, PostgresFault> {
    let condition =
        "WHERE api_url = $1 AND app_id = $2 AND event = $3 AND status NOT IN ('removed', 'gone') ORDER BY id";
    let values = values![wanted.origin.as_str() => TEXT, wanted.app_id.get() => INT8, wanted.event.as_str() => TEXT];
    let mut rows = found(link, condition, values).await?;
    rows.retain(|found| found.record.subscription.target_url.is_same_endpoint(&wanted.target_url));
    Ok(rows)
}

async fn conflict(
    link: &Link,
    wanted: &Subscription,
    replaces: Option<HookId>,
) -> Result<Option<Conflict>, PostgresFault> {
    Ok(conflict_among(alike(link, wanted).await?, replaces))
}

async fn related(link: &Link, wanted: &Subscription) -> Result<Vec<RelatedRow>, PostgresFault> {
    let mut rows = alike(link, wanted).await?;
    let replaced: Vec<i64> = replaced_elsewhere(&rows).into_iter().map(HookId::get).collect();
    if !replaced.is_empty() {
        let condition = "WHERE api_url = $1 AND hook_id = ANY($2) ORDER BY id";
        let replaced = found(link, condition, values![wanted.origin.as_str() => TEXT, replaced => INT8_ARRAY]).await?;
        rows.extend(replaced.into_iter().filter(|found| is_replaceable(found, wanted)));
    }
    Ok(rows.into_iter().map(RelatedRow::from).collect())
}

impl Registry for PostgresRegistry {
    fn hooks(&self, origin: Option<&ApiOrigin>, each: &mut dyn FnMut(HookRecord)) -> Result<(), StoreError> {
        let each = std::cell::RefCell::new(each);
        let condition = format!("WHERE $1::text IS NULL OR api_url = $1 {ORDER}");
        let origin = origin.map(ApiOrigin::as_str);
        let read = self.session.read(async |link| {
            let give = |found: FoundRow| (*each.borrow_mut())(found.record);
            rows::each(link, &condition, values![origin => TEXT], give).await
        });
        read.map_err(|fault| self.session.store_error(fault))
    }

    fn find_conflict(&self, wanted: &Subscription) -> Result<Option<Conflict>, StoreError> {
        self.session.run(async |link| conflict(link, wanted, None).await)
    }

    fn related(&self, wanted: &Subscription) -> Result<Vec<RelatedRow>, StoreError> {
        self.session.run(async |link| related(link, wanted).await)
    }

    fn begin_subscribe(&self, intent: &SubscriptionIntent, now: Timestamp) -> Result<Reservation, StoreError> {
        self.has_begun.set(true);
        self.session.commit(async |link| {
            lock(link, &intent.wanted).await?;
            self.begin_one_subscription(link, intent, now).await
        })
    }

    fn activate(&self, row: RowId, hook: HookId, now: Timestamp) -> Result<Activated, StoreError> {
        self.session.commit(async |link| self.changes(link).hold(row, hook, now).await)
    }

    fn leave_in_doubt(&self, row: RowId, reason: &str, now: Timestamp) -> Result<HookRecord, StoreError> {
        let ending = Ending::LEFT_IN_DOUBT.because(reason);
        self.session.commit(async |link| self.changes(link).settle(row, ending, now).await)
    }

    fn abandon(&self, row: RowId) -> Result<(), StoreError> {
        self.session.commit(async |link| self.changes(link).abandon(row, Timestamp::now()).await)
    }

    fn record_removals(
        &self,
        ends: &[(RowId, Removal)],
        intents: &[RowId],
        now: Timestamp,
    ) -> Result<(Vec<Option<HookRecord>>, Vec<RemovalReservation>), StoreError> {
        self.has_begun.set(true);
        self.session.commit(async |link| {
            let changes = self.changes(link);
            let mut ended = Vec::with_capacity(ends.len());
            for (row, end) in ends {
                match changes.settle(*row, ending_of(end), now).await {
                    Err(PostgresFault::Rule(Rule::Lost(_))) => ended.push(None),
                    settled => ended.push(Some(settled?)),
                }
            }
            let mut begun = Vec::with_capacity(intents.len());
            for intent in intents {
                begun.push(changes.begin_removal(*intent, now).await?);
            }
            Ok((ended, begun))
        })
    }

    fn record_subscriptions(
        &self,
        ends: &[(RowId, SubscriptionEnd)],
        intents: &[SubscriptionIntent],
        now: Timestamp,
    ) -> Result<(Vec<Option<Activated>>, Vec<Reservation>), StoreError> {
        self.has_begun.set(true);
        self.session.commit(async |link| self.record_batch(link, ends, intents, now).await)
    }

    fn manage(&self, changes: &[OwnershipChange], now: Timestamp) -> Result<Vec<Option<HookRecord>>, StoreError> {
        self.session.commit(async |link| self.manage_batch(link, changes, now).await)
    }

    fn lock_manifest(
        &self,
        origin: &ApiOrigin,
        name: &ManifestName,
        now: Timestamp,
    ) -> Result<ManifestLock, StoreError> {
        self.has_begun.set(true);
        self.session.commit(async |link| self.take_lock(link, origin, name, now).await)
    }

    fn renew_manifest_lock(&self, origin: &ApiOrigin, name: &ManifestName) -> Result<bool, StoreError> {
        self.session.commit(async |link| self.renew_lock(link, origin, name).await)
    }

    fn unlock_manifest(&self, origin: &ApiOrigin, name: &ManifestName) -> Result<(), StoreError> {
        self.session.commit(async |link| self.free_lock(link, origin, name).await)
    }

    fn import(
        &self,
        hook: HookId,
        subscription: &Subscription,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<(HookRecord, bool), StoreError> {
        self.session.commit(async |link| {
            lock(link, subscription).await?;
            self.changes(link).import(hook, subscription, label, now).await
        })
    }

    fn restore(&self, hooks: &[HookRecord], now: Timestamp) -> Result<Vec<Restored>, StoreError> {
        self.session.commit(async |link| self.restore_all(link, hooks, now).await)
    }

    fn try_restore(&self, hooks: &[HookRecord], now: Timestamp) -> Result<Vec<Restored>, StoreError> {
        self.session.commit(async |link| self.restore_and_undo(link, hooks, now).await)
    }

    fn forget(&self, row_id: RowId) -> Result<(), StoreError> {
        self.session.commit(async |link| {
            let Some(found) = row(link, row_id).await? else { return Ok(()) };
            if found.in_progress {
                return Err(Rule::InUse.into());
            }
            self.changes(link).delete(row_id, Action::Forgotten, Timestamp::now()).await
        })
    }

    fn history(
        &self,
        origin: Option<&ApiOrigin>,
        hook: Option<HookId>,
        limit: Option<u64>,
        each: &mut dyn FnMut(Change),
    ) -> Result<(), StoreError> {
        let each = std::cell::RefCell::new(each);
        let read = self
            .session
            .read(async |link| history::read(link, origin, hook, limit, |change| (*each.borrow_mut())(change)).await);
        read.map_err(|fault| self.session.store_error(fault))
    }

    fn set_lock_timeout(&self, timeout: std::time::Duration) -> Result<(), StoreError> {
        self.session.set_lock_timeout(timeout);
        Ok(())
    }

    fn set_timeout(&self, timeout: std::time::Duration) -> Result<(), StoreError> {
        self.session.set_lock_timeout(timeout);
        self.session.set_timeout(timeout);
        Ok(())
    }

    fn check(&self) -> Result<(), StoreError> {
        self.session.run(async |link| link.number("SELECT count(h.*) FROM @hooks h", values![]).await.map(drop))
    }
}

//! The registry in a PostgreSQL schema: each change is one transaction.
//!
//! Who is at work on a row has it for a time, by the clock of the server. When that is over, the row is in doubt: whatever
//! became of the process, nobody else may send the same request, but anybody may find out what it made.

mod rows;

use jiff::Timestamp;

use self::rows::{FoundRow, change, found, row, time};
use super::fault::PostgresFault;
use super::session::{Link, Session, values};
use crate::domain::{ApiOrigin, HookId, HookRecord, HookStatus, Label, RowId, Subscription};
use crate::store::error::Rule;
use crate::store::{Activated, Conflict, Registry, Removal, RemovalReservation, Reservation, StoreError};

/// The order of [`Registry::hooks`].
const ORDER: &str = "ORDER BY api_url, app_id, event, target_url, id";

/// For how long a process is taken to be at work on a row, in seconds: longer than any request takes, with its retries.
const OWNED: &str = "now() + interval '120 seconds'";

/// A registry in a schema.
pub(super) struct PostgresRegistry {
    session: Session,
    /// This process, as it is named in rows.
    owner: String,
}

impl PostgresRegistry {
    /// The registry of this session, whose schema is there.
    pub(super) fn new(session: Session) -> Self {
        let owner = std::iter::repeat_with(fastrand::alphanumeric).take(16).collect();
        Self { session, owner }
    }
}

/// What a process was at work on when it ended is in doubt at once.
impl Drop for PostgresRegistry {
    fn drop(&mut self) {
        let sql = "UPDATE @hooks SET owned_until = now() WHERE owner = $1 AND owned_until > now()";
        // If it fails, it is in doubt when its time is over.
        let _ = self.session.once(async |link| link.execute(sql, values![self.owner => TEXT]).await);
    }
}

/// Keeps others from subscribing to the same until this transaction ends.
async fn lock(link: &Link, wanted: &Subscription) -> Result<(), PostgresFault> {
    let sql = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, $2))";
    let name = format!("{}{}{}", link.schema(), wanted.origin.as_str(), wanted.event.as_str());
    link.rows(sql, values![name => TEXT, wanted.app_id.get() => INT8]).await?;
    Ok(())
}

/// The rows of one endpoint that are not known to be over, oldest first.
async fn alike(link: &Link, wanted: &Subscription) -> Result<Vec<FoundRow>, PostgresFault> {
    let condition =
        "WHERE api_url = $1 AND app_id = $2 AND event = $3 AND status NOT IN ('removed', 'gone') ORDER BY id";
    let values = values![wanted.origin.as_str() => TEXT, wanted.app_id.get() => INT8, wanted.event.as_str() => TEXT];
    let mut rows = found(link, condition, values).await?;
    let endpoint = wanted.target_url.endpoint();
    rows.retain(|found| found.record.subscription.target_url.endpoint() == endpoint);
    Ok(rows)
}

async fn conflict(link: &Link, wanted: &Subscription) -> Result<Option<Conflict>, PostgresFault> {
    let mut same = alike(link, wanted).await?;
    if let Some(index) = same.iter().position(|found| found.record.status == HookStatus::Active) {
        return Ok(Some(Conflict::Exists(Box::new(same.swap_remove(index).record))));
    }
    if same.iter().any(|found| found.in_progress) {
        return Ok(Some(Conflict::InProgress));
    }
    Ok(same.into_iter().next().map(|found| Conflict::Unresolved(Box::new(found.record))))
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
        self.session.run(async |link| conflict(link, wanted).await)
    }

    fn begin_subscribe(
        &self,
        wanted: &Subscription,
        label: Option<&Label>,
        force: bool,
        now: Timestamp,
    ) -> Result<Reservation, StoreError> {
        self.session.commit(async |link| {
            lock(link, wanted).await?;
            let conflict = if force { None } else { conflict(link, wanted).await? };
            if let Some(conflict) = conflict {
                return Ok(Reservation::Conflict(conflict));
            }
            let row = insert(link, wanted, HookStatus::Pending, label, Some(&self.owner), now).await?;
            Ok(Reservation::Reserved(row))
        })
    }

    fn activate(&self, row: RowId, hook: HookId, now: Timestamp) -> Result<Activated, StoreError> {
        self.session.commit(async |link| take(link, row, hook, now).await)
    }

    fn leave_in_doubt(&self, row: RowId, reason: &str, now: Timestamp) -> Result<HookRecord, StoreError> {
        self.session.commit(async |link| settle(link, row, HookStatus::Unknown, Some(reason), now).await)
    }

    fn abandon(&self, row: RowId) -> Result<(), StoreError> {
        let sql = "DELETE FROM @hooks WHERE id = $1 AND status = 'pending'";
        self.session.commit(async |link| link.execute(sql, values![row.0 => INT8]).await.map(drop))
    }

    fn record_removals(
        &self,
        ends: &[(RowId, Removal)],
        intents: &[RowId],
        now: Timestamp,
    ) -> Result<(Vec<Option<HookRecord>>, Vec<RemovalReservation>), StoreError> {
        self.session.commit(async |link| {
            let mut ended = Vec::with_capacity(ends.len());
            for (row, end) in ends {
                let (status, reason) = match end {
                    Removal::Removed => (HookStatus::Removed, None),
                    Removal::Gone => (HookStatus::Gone, None),
                    Removal::Refused => (HookStatus::Active, None),
                    Removal::InDoubt(reason) => (HookStatus::Removing, Some(reason.as_str())),
                };
                match settle(link, *row, status, reason, now).await {
                    Err(PostgresFault::Rule(Rule::Lost(_))) => ended.push(None),
                    settled => ended.push(Some(settled?)),
                }
            }
            let mut begun = Vec::with_capacity(intents.len());
            for intent in intents {
                begun.push(begin_removal(link, *intent, &self.owner, now).await?);
            }
            Ok((ended, begun))
        })
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
            if let Some(holder) = rows::hook(link, &subscription.origin, hook).await? {
                return import_again(link, holder, subscription, label, now).await;
            }
            let row = row_for_import(link, subscription, now).await?;
            let changes = "hook_id = $2, label = coalesce($3, label)";
            change(link, changes, values![row.0 => INT8, hook.get() => INT8, label.map(Label::as_str) => TEXT]).await?;
            Ok((settle(link, row, HookStatus::Active, None, now).await?, true))
        })
    }

    fn forget(&self, row_id: RowId) -> Result<(), StoreError> {
        self.session.commit(async |link| {
            let Some(found) = row(link, row_id).await? else { return Ok(()) };
            if found.in_progress {
                return Err(Rule::InUse.into());
            }
            link.execute("DELETE FROM @hooks WHERE id = $1", values![row_id.0 => INT8]).await?;
            Ok(())
        })
    }

    fn set_lock_timeout(&self, timeout: std::time::Duration) -> Result<(), StoreError> {
        self.session.set_timeout(timeout);
        Ok(())
    }

    fn check(&self) -> Result<(), StoreError> {
        self.session.run(async |link| link.number("SELECT count(h.*) FROM @hooks h", values![]).await.map(drop))
    }
}

/// Gives a row the hook that its request made.
async fn take(link: &Link, pending: RowId, hook: HookId, now: Timestamp) -> Result<Activated, PostgresFault> {
    let wanted = row(link, pending).await?.ok_or(Rule::Lost(pending.0))?.record;
    let holder = rows::hook(link, &wanted.subscription.origin, hook).await?;
    let holder = holder.map(|found| found.record).filter(|holder| holder.row != pending && !holder.status.is_ended());
    let mut displaced = None;
    if let Some(holder) = holder {
        if holder.subscription.is_same_as(&wanted.subscription) {
            link.execute("DELETE FROM @hooks WHERE id = $1", values![pending.0 => INT8]).await?;
            set_label(link, holder.row, wanted.label.as_ref()).await?;
            return Ok(settle(link, holder.row, HookStatus::Active, None, now).await?.into());
        }
        // The server gave a new hook a number that is on record.
        displaced = Some(settle(link, holder.row, HookStatus::Gone, None, now).await?);
    }
    change(link, "hook_id = $2", values![pending.0 => INT8, hook.get() => INT8]).await?;
    let record = settle(link, pending, HookStatus::Active, None, now).await?;
    Ok(Activated { record, displaced })
}

async fn begin_removal(
    link: &Link,
    id: RowId,
    owner: &str,
    now: Timestamp,
) -> Result<RemovalReservation, PostgresFault> {
    let Some(found) = row(link, id).await? else { return Ok(RemovalReservation::Forgotten) };
    if found.record.status.is_ended() {
        return Ok(RemovalReservation::Ended(Box::new(found.record)));
    }
    if found.in_progress {
        return Ok(RemovalReservation::InProgress);
    }
    let changes = format!("status = 'removing', owner = $2, owned_until = {OWNED}, reason = NULL, updated_at = $3");
    change(link, &changes, values![id.0 => INT8, owner => TEXT, time(now) => INT8]).await?;
    Ok(RemovalReservation::Reserved { resumed: found.record.status == HookStatus::Removing })
}

/// Imports a hook that a row holds already: the same one again, or one that was taken for ended.
async fn import_again(
    link: &Link,
    holder: FoundRow,
    subscription: &Subscription,
    label: Option<&Label>,
    now: Timestamp,
) -> Result<(HookRecord, bool), PostgresFault> {
    let record = holder.record;
    let known = &record.subscription;
    let same = (known.app_id, known.event) == (subscription.app_id, subscription.event)
        && subscription.target_url.selects(&known.target_url);
    if let Some(hook) = record.hook_id.filter(|_| !same) {
        return Err(Rule::Conflict { hook, recorded: known.to_string() }.into());
    }
    if record.status == HookStatus::Active && (label.is_none() || record.label.as_ref() == label) {
        return Ok((record, false));
    }
    if holder.in_progress {
        return Err(Rule::InUse.into());
    }
    set_label(link, record.row, label).await?;
    Ok((settle(link, record.row, HookStatus::Active, None, now).await?, true))
}

/// The unresolved row that an import settles, or a fresh one.
async fn row_for_import(link: &Link, subscription: &Subscription, now: Timestamp) -> Result<RowId, PostgresFault> {
    let condition = "WHERE api_url = $1 AND app_id = $2 AND event = $3 AND hook_id IS NULL ORDER BY id";
    let values = values![subscription.origin.as_str() => TEXT, subscription.app_id.get() => INT8,
        subscription.event.as_str() => TEXT];
    let mut unresolved = found(link, condition, values).await?;
    let target = &subscription.target_url;
    unresolved.retain(|found| !found.in_progress && target.selects(&found.record.subscription.target_url));
    let mut targets: Vec<_> = unresolved.iter().map(|found| &found.record.subscription.target_url).collect();
    targets.dedup();
    match (unresolved.first(), targets.len()) {
        (Some(found), 1) => Ok(found.record.row),
        (Some(_), _) => Err(Rule::Ambiguous.into()),
        (None, _) if target.is_redacted() => Err(Rule::HiddenPassword.into()),
        (None, _) => insert(link, subscription, HookStatus::Unknown, None, None, now).await,
    }
}

/// Adds a row that holds no hook yet.
async fn insert(
    link: &Link,
    wanted: &Subscription,
    status: HookStatus,
    label: Option<&Label>,
    owner: Option<&str>,
    now: Timestamp,
) -> Result<RowId, PostgresFault> {
    let sql = format!(
        "INSERT INTO @hooks (id, api_url, app_id, event, target_url, status, label, owner, owned_until, created_at, updated_at)
         VALUES (nextval('@row_ids'), $1, $2, $3, $4, $5, $6, $7, CASE WHEN $7 IS NOT NULL THEN {OWNED} END, $8, $8)
         RETURNING id"
    );
    let values = values![
        wanted.origin.as_str() => TEXT,
        wanted.app_id.get() => INT8,
        wanted.event.as_str() => TEXT,
        wanted.target_url.expose() => TEXT,
        status.as_str() => TEXT,
        label.map(Label::as_str) => TEXT,
        owner => TEXT,
        time(now) => INT8,
    ];
    Ok(RowId(link.number(&sql, values).await?))
}

/// Sets status and reason, and gives the row back.
async fn settle(
    link: &Link,
    id: RowId,
    status: HookStatus,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<HookRecord, PostgresFault> {
    let changes = "status = $2, reason = $3, owner = NULL, owned_until = NULL, updated_at = $4";
    let reason = reason.map(super::inbox::sendable);
    change(link, changes, values![id.0 => INT8, status.as_str() => TEXT, reason => TEXT, time(now) => INT8]).await?;
    Ok(row(link, id).await?.ok_or(Rule::Lost(id.0))?.record)
}

/// Gives the row a label, if there is one.
async fn set_label(link: &Link, id: RowId, label: Option<&Label>) -> Result<(), PostgresFault> {
    change(link, "label = coalesce($2, label)", values![id.0 => INT8, label.map(Label::as_str) => TEXT]).await
}

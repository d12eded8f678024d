//! Changing rows, and what the history says of it. All of it within a transaction.

use jiff::Timestamp;

use super::super::fault::PostgresFault;
use super::super::inbox::sendable;
use super::super::session::{Link, values};
use super::rows::{self, COLUMNS, change, found, found_row, row, time};
use crate::domain::{HookId, HookRecord, HookStatus, Label, ManifestName, RowId, Subscription, TargetUrl};
use crate::store::error::Rule;
use crate::store::registry_rules::{
    Ending, FoundRow, Management, Reimport, completed_target, managed, removal_of, unresolved_row,
};
use crate::store::{Action, Activated, Actor, OwnershipChange, RemovalReservation, SubscriptionIntent};

/// For how long a process is taken to be at work on a row: longer than any request takes, with its retries.
const OWNED: &str = "now() + interval '120 seconds'";

/// Changes the rows of a registry, on behalf of somebody.
pub(super) struct Changes<'a> {
    pub(super) link: &'a Link,
    pub(super) actor: &'a Actor,
    pub(super) owner: &'a str,
}

impl Changes<'_> {
    /// Gives a row the hook that its request made.
    pub(super) async fn hold(&self, pending: RowId, hook: HookId, now: Timestamp) -> Result<Activated, PostgresFault> {
        let link = self.link;
        if let Some(record) = self.hold_new(pending, hook, now).await? {
            return Ok(record.into());
        }
        let wanted = row(link, pending).await?.ok_or(Rule::Lost(pending.0))?.record;
        let holder = rows::hook(link, &wanted.subscription.origin, hook).await?.map(|found| found.record);
        let mut displaced = None;
        if let Some(holder) = holder.filter(|holder| holder.row != pending && !holder.status.is_ended()) {
            if holder.subscription.is_same_as(&wanted.subscription) {
                self.record_of(pending, Action::Merged, Some(hook), None, now).await?;
                link.execute(DELETE, values![pending.0 => INT8]).await?;
                set_label(link, holder.row, wanted.label.as_ref()).await?;
                let owner = "managed_by = coalesce($2, managed_by), replaces = coalesce($3, replaces)";
                let values = values![holder.row.0 => INT8, wanted.managed_by.as_ref().map(ManifestName::as_str) => TEXT,
                    wanted.replaces.map(HookId::get) => INT8];
                change(link, owner, values).await?;
                return Ok(self.settle(holder.row, Ending::SUBSCRIBED, now).await?.into());
            }
            // The server gave a new hook a number that is on record.
            displaced = Some(self.settle(holder.row, Ending::DISPLACED, now).await?);
        }
        change(link, "hook_id = $2", values![pending.0 => INT8, hook.get() => INT8]).await?;
        Ok(Activated { record: self.settle(pending, Ending::SUBSCRIBED, now).await?, displaced })
    }

    /// The same in one statement, if no other row holds that hook.
    async fn hold_new(
        &self,
        pending: RowId,
        hook: HookId,
        now: Timestamp,
    ) -> Result<Option<HookRecord>, PostgresFault> {
        let Ending { status, action, .. } = Ending::SUBSCRIBED;
        let sql = format!(
            "WITH held AS (
                 UPDATE @hooks h SET hook_id = $2, status = $3, reason = NULL, owner = NULL, owned_until = NULL,
                     updated_at = $4
                 WHERE id = $1 AND NOT EXISTS (
                     SELECT 1 FROM @hooks o WHERE o.api_url = h.api_url AND o.hook_id = $2 AND o.id <> h.id
                         AND o.status NOT IN ('removed', 'gone'))
                 RETURNING {COLUMNS}),
             noted AS (
                 INSERT INTO @history (at, actor, action, row_id, api_url, hook_id, app_id, event, target_url)
                 SELECT $4, $5, $6, id, api_url, hook_id, app_id, event, target_url FROM held RETURNING number)
             SELECT held.*, noted.number FROM held, noted"
        );
        let values = values![pending.0 => INT8, hook.get() => INT8, status.as_str() => TEXT, time(now) => INT8,
            self.actor.as_str() => TEXT, action.as_str() => TEXT];
        let Some(row) = self.link.row(&sql, values).await? else { return Ok(None) };
        self.trim(row.try_get("number")?).await?;
        Ok(Some(found_row(&row)?.record))
    }

    /// Records the intent to subscribe in one statement; returns the row, which this process is at work on.
    pub(super) async fn begin_subscribe(
        &self,
        intent: &SubscriptionIntent,
        now: Timestamp,
    ) -> Result<RowId, PostgresFault> {
        let wanted = &intent.wanted;
        let sql = format!(
            "WITH added AS (
                 INSERT INTO @hooks (id, api_url, app_id, event, target_url, status, label, owner, owned_until,
                                     created_at, updated_at, managed_by, replaces)
                 VALUES (nextval('@row_ids'), $1, $2, $3, $4, $5, $6, $7, {OWNED}, $8, $8, $11, $12) RETURNING *)
             INSERT INTO @history (at, actor, action, row_id, api_url, app_id, event, target_url)
             SELECT $8, $9, $10, id, api_url, app_id, event, target_url FROM added RETURNING row_id, number"
        );
        let values = values![
            wanted.origin.as_str() => TEXT,
            wanted.app_id.get() => INT8,
            wanted.event.as_str() => TEXT,
            wanted.target_url.expose() => TEXT,
            HookStatus::Pending.as_str() => TEXT,
            intent.label.as_ref().map(Label::as_str) => TEXT,
            self.owner => TEXT,
            time(now) => INT8,
            self.actor.as_str() => TEXT,
            Action::BeganSubscribe.as_str() => TEXT,
            intent.managed_by.as_ref().map(ManifestName::as_str) => TEXT,
            intent.replaces.map(HookId::get) => INT8,
        ];
        let row = self.link.row(&sql, values).await?.ok_or_else(|| rows::damaged("a new row"))?;
        self.trim(row.try_get(1)?).await?;
        Ok(RowId(row.try_get(0)?))
    }

    /// Deletes a row whose request surely made no hook.
    pub(super) async fn abandon(&self, id: RowId, now: Timestamp) -> Result<(), PostgresFault> {
        let pending = "WHERE id = $1 AND status = 'pending' FOR UPDATE";
        if found(self.link, pending, values![id.0 => INT8]).await?.is_empty() {
            return Ok(());
        }
        self.delete(id, Action::Abandoned, now).await
    }

    /// Gives a hook its owner and label.
    pub(super) async fn manage(
        &self,
        ownership: &OwnershipChange,
        now: Timestamp,
    ) -> Result<Option<HookRecord>, PostgresFault> {
        let id = ownership.row;
        let Some(found) = row(self.link, id).await? else { return Ok(None) };
        let ending = match managed(&found, ownership) {
            Management::Refused => return Ok(None),
            Management::Unchanged => return Ok(Some(found.record)),
            Management::Settled(ending) => ending,
        };
        let target = completed_target(&found.record, ownership).map(TargetUrl::expose);
        let changes = "managed_by = $2, label = $3, target_url = coalesce($4, target_url)";
        let values = values![id.0 => INT8, ownership.managed_by.as_str() => TEXT,
            ownership.label.as_ref().map(Label::as_str) => TEXT, target => TEXT];
        change(self.link, changes, values).await?;
        self.settle(id, ending, now).await.map(Some)
    }

    /// Records the intent to remove.
    pub(super) async fn begin_removal(&self, id: RowId, now: Timestamp) -> Result<RemovalReservation, PostgresFault> {
        let reservation = removal_of(row(self.link, id).await?);
        if matches!(reservation, RemovalReservation::Reserved { .. }) {
            let changes =
                format!("status = 'removing', owner = $2, owned_until = {OWNED}, reason = NULL, updated_at = $3");
            change(self.link, &changes, values![id.0 => INT8, self.owner => TEXT, time(now) => INT8]).await?;
            self.record(id, Action::BeganRemoval, now).await?;
        }
        Ok(reservation)
    }

    /// Records a hook made elsewhere.
    pub(super) async fn import(
        &self,
        hook: HookId,
        subscription: &Subscription,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<(HookRecord, bool), PostgresFault> {
        if let Some(holder) = rows::hook(self.link, &subscription.origin, hook).await? {
            return self.import_again(holder, subscription, label, now).await;
        }
        let row = self.row_for_import(subscription, now).await?;
        let changes = "hook_id = $2, label = coalesce($3, label)";
        let values = values![row.0 => INT8, hook.get() => INT8, label.map(Label::as_str) => TEXT];
        change(self.link, changes, values).await?;
        Ok((self.settle(row, Ending::IMPORTED, now).await?, true))
    }

    /// Imports a hook that a row holds already: the same one again, or one that was taken for ended.
    async fn import_again(
        &self,
        holder: FoundRow,
        subscription: &Subscription,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<(HookRecord, bool), PostgresFault> {
        let row = holder.record.row;
        match holder.import_again(subscription, label)? {
            Reimport::Unchanged => Ok((holder.record, false)),
            Reimport::Settled(ending) => {
                set_label(self.link, row, label).await?;
                Ok((self.settle(row, ending, now).await?, true))
            }
        }
    }

    /// The unresolved row that an import settles, or a fresh one.
    async fn row_for_import(&self, subscription: &Subscription, now: Timestamp) -> Result<RowId, PostgresFault> {
        let condition = "WHERE api_url = $1 AND app_id = $2 AND event = $3 AND hook_id IS NULL ORDER BY id FOR UPDATE";
        let values = values![subscription.origin.as_str() => TEXT, subscription.app_id.get() => INT8,
            subscription.event.as_str() => TEXT];
        match unresolved_row(found(self.link, condition, values).await?, &subscription.target_url)? {
            Some(row) => Ok(row),
            None => self.insert(subscription, HookStatus::Unknown, now).await,
        }
    }

    /// Adds a row that holds no hook yet, and that nobody is at work on.
    pub(super) async fn insert(
        &self,
        wanted: &Subscription,
        status: HookStatus,
        now: Timestamp,
    ) -> Result<RowId, PostgresFault> {
        let sql = "INSERT INTO @hooks (id, api_url, app_id, event, target_url, status, created_at, updated_at)
                   VALUES (nextval('@row_ids'), $1, $2, $3, $4, $5, $6, $6) RETURNING id";
        let values = values![
            wanted.origin.as_str() => TEXT,
            wanted.app_id.get() => INT8,
            wanted.event.as_str() => TEXT,
            wanted.target_url.expose() => TEXT,
            status.as_str() => TEXT,
            time(now) => INT8,
        ];
        Ok(RowId(self.link.number(sql, values).await?))
    }

    /// Sets status and reason, and gives the row back.
    pub(super) async fn settle(
        &self,
        id: RowId,
        ending: Ending<'_>,
        now: Timestamp,
    ) -> Result<HookRecord, PostgresFault> {
        let Ending { status, action, reason } = ending;
        let reason = reason.map(sendable);
        let changes = "status = $2, reason = $3, owner = NULL, owned_until = NULL, updated_at = $4";
        let values = values![id.0 => INT8, status.as_str() => TEXT, reason => TEXT, time(now) => INT8];
        change(self.link, changes, values).await?;
        self.record_of(id, action, None, reason.as_deref(), now).await?;
        Ok(row(self.link, id).await?.ok_or(Rule::Lost(id.0))?.record)
    }

    /// Deletes a row that is there.
    pub(super) async fn delete(&self, id: RowId, action: Action, now: Timestamp) -> Result<(), PostgresFault> {
        self.record(id, action, now).await?;
        self.link.execute(DELETE, values![id.0 => INT8]).await?;
        Ok(())
    }
}

const DELETE: &str = "DELETE FROM @hooks WHERE id = $1";

/// Gives the row a label, if there is one.
async fn set_label(link: &Link, id: RowId, label: Option<&Label>) -> Result<(), PostgresFault> {
    change(link, "label = coalesce($2, label)", values![id.0 => INT8, label.map(Label::as_str) => TEXT]).await
}

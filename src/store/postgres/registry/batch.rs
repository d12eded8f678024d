//! Many subscriptions in a commit, and many owners. Their statements are sent without waiting for one another's answers.

use std::collections::HashSet;

use futures_util::future::try_join_all;
use jiff::Timestamp;

use super::super::fault::PostgresFault;
use super::super::session::{Link, values};
use super::{PostgresRegistry, conflict, lock};
use crate::domain::{HookRecord, RowId};
use crate::store::error::Rule;
use crate::store::registry_rules::{Ending, repeated};
use crate::store::{Activated, Conflict, OwnershipChange, Reservation, SubscriptionEnd, SubscriptionIntent};

impl PostgresRegistry {
    /// Records how requests ended, and the intents of others.
    pub(super) async fn record_batch(
        &self,
        link: &Link,
        ends: &[(RowId, SubscriptionEnd)],
        intents: &[SubscriptionIntent],
        now: Timestamp,
    ) -> Result<(Vec<Option<Activated>>, Vec<Reservation>), PostgresFault> {
        // All batches take their locks in the same order, so that none of them waits for one that waits for it. They are
        // sent in that order, and the server works on them in the order in which they come.
        let mut wanted: Vec<_> = intents.iter().map(|intent| &intent.wanted).collect();
        wanted.sort_by_key(|wanted| (&wanted.origin, wanted.app_id, wanted.event));
        wanted.dedup_by_key(|wanted| (&wanted.origin, wanted.app_id, wanted.event));
        try_join_all(wanted.into_iter().map(|wanted| lock(link, wanted))).await?;
        let ended = self.end_all(link, ends, now).await?;
        let repeated = repeated(intents);
        let begin = async |(index, intent): (usize, &SubscriptionIntent)| {
            if repeated.contains(&index) {
                return Ok(Reservation::Conflict(Conflict::InProgress));
            }
            self.begin_one_subscription(link, intent, now).await
        };
        let reservations = try_join_all(intents.iter().enumerate().map(begin)).await?;
        Ok((ended, reservations))
    }

    /// Gives hooks their owners and labels.
    pub(super) async fn manage_batch(
        &self,
        link: &Link,
        changes: &[OwnershipChange],
        now: Timestamp,
    ) -> Result<Vec<Option<HookRecord>>, PostgresFault> {
        let mut rows: Vec<i64> = changes.iter().map(|change| change.row.0).collect();
        rows.sort_unstable();
        rows.dedup();
        let is_each_once = rows.len() == changes.len();
        // Everybody locks the rows in the same order, whatever the order of the changes.
        let sql = "SELECT id FROM @hooks WHERE id = ANY($1) ORDER BY id FOR UPDATE";
        link.rows(sql, values![rows => INT8_ARRAY]).await?;
        let rows = self.changes(link);
        if is_each_once {
            return try_join_all(changes.iter().map(|change| rows.manage(change, now))).await;
        }
        // Who owns a row is known to its second change after the first.
        let mut managed = Vec::with_capacity(changes.len());
        for change in changes {
            managed.push(rows.manage(change, now).await?);
        }
        Ok(managed)
    }

    async fn end_all(
        &self,
        link: &Link,
        ends: &[(RowId, SubscriptionEnd)],
        now: Timestamp,
    ) -> Result<Vec<Option<Activated>>, PostgresFault> {
        let mut seen = HashSet::new();
        let is_repeated = |end: &SubscriptionEnd| matches!(end, SubscriptionEnd::Made(hook) if !seen.insert(*hook));
        if !ends.iter().map(|(_, end)| end).any(is_repeated) {
            return try_join_all(ends.iter().map(|(row, end)| self.end_one(link, *row, end, now))).await;
        }
        // The server gave a number twice: what becomes of one row depends on what became of the other.
        let mut ended = Vec::with_capacity(ends.len());
        for (row, end) in ends {
            ended.push(self.end_one(link, *row, end, now).await?);
        }
        Ok(ended)
    }

    async fn end_one(
        &self,
        link: &Link,
        row: RowId,
        end: &SubscriptionEnd,
        now: Timestamp,
    ) -> Result<Option<Activated>, PostgresFault> {
        let changes = self.changes(link);
        let ended = match end {
            SubscriptionEnd::Made(hook) => changes.hold(row, *hook, now).await,
            SubscriptionEnd::InDoubt(reason) => {
                changes.settle(row, Ending::LEFT_IN_DOUBT.because(reason), now).await.map(Activated::from)
            }
            SubscriptionEnd::Abandoned => return changes.abandon(row, now).await.map(|()| None),
        };
        match ended {
            Err(PostgresFault::Rule(Rule::Lost(_))) => Ok(None),
            ended => ended.map(Some),
        }
    }

    /// Records the intent to subscribe, unless one on record conflicts. The lock of the subscription is held.
    pub(super) async fn begin_one_subscription(
        &self,
        link: &Link,
        intent: &SubscriptionIntent,
        now: Timestamp,
    ) -> Result<Reservation, PostgresFault> {
        let SubscriptionIntent { wanted, replaces, .. } = intent;
        let conflict = if intent.force { None } else { conflict(link, wanted, *replaces).await? };
        if let Some(conflict) = conflict {
            return Ok(Reservation::Conflict(conflict));
        }
        Ok(Reservation::Reserved(self.changes(link).begin_subscribe(intent, now).await?))
    }
}

//! Subscriptions, one by one and many in a commit, and who owns them.

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, params};

use super::super::fault::StoreFault;
use super::SqliteRegistry;
use super::changes::insert;
use crate::domain::{HookId, HookRecord, HookStatus, Label, ManifestName, RowId, TargetUrl};
use crate::store::error::Rule;
use crate::store::registry_rules::{Ending, Management, completed_target, managed, repeated};
use crate::store::{Action, Activated, Conflict, OwnershipChange, Reservation, SubscriptionEnd, SubscriptionIntent};

impl SqliteRegistry {
    /// Records how requests ended, and the intents of others.
    pub(super) fn record_batch(
        &self,
        connection: &Connection,
        ends: &[(RowId, SubscriptionEnd)],
        intents: &[SubscriptionIntent],
        now: Timestamp,
    ) -> Result<(Vec<Option<Activated>>, Vec<Reservation>), StoreFault> {
        let ended = ends.iter().map(|(row, end)| self.end_one(connection, *row, end, now)).collect::<Result<_, _>>()?;
        let repeated = repeated(intents);
        let begin = |(index, intent): (usize, &SubscriptionIntent)| {
            if repeated.contains(&index) {
                return Ok(Reservation::Conflict(Conflict::InProgress));
            }
            self.begin_one_subscription(connection, intent, now)
        };
        let reservations = intents.iter().enumerate().map(begin).collect::<Result<_, _>>()?;
        Ok((ended, reservations))
    }

    fn end_one(
        &self,
        connection: &Connection,
        row: RowId,
        end: &SubscriptionEnd,
        now: Timestamp,
    ) -> Result<Option<Activated>, StoreFault> {
        let ended = match end {
            SubscriptionEnd::Made(hook) => self.hold_or_take_over(connection, row, *hook, now),
            SubscriptionEnd::InDoubt(reason) => {
                let ending = Ending::LEFT_IN_DOUBT.because(reason);
                self.settle(&mut self.reader(connection), row, ending, now).map(Activated::from)
            }
            SubscriptionEnd::Abandoned => return self.abandon_one(connection, row, now).map(|()| None),
        };
        match ended {
            Err(StoreFault::Rule(Rule::Lost(_))) => Ok(None),
            ended => ended.map(Some),
        }
    }

    /// Records the intent to subscribe, unless one on record conflicts.
    pub(super) fn begin_one_subscription(
        &self,
        connection: &Connection,
        intent: &SubscriptionIntent,
        now: Timestamp,
    ) -> Result<Reservation, StoreFault> {
        let SubscriptionIntent { wanted, replaces, .. } = intent;
        let conflict = if intent.force { None } else { self.conflict(connection, wanted, *replaces)? };
        if let Some(conflict) = conflict {
            return Ok(Reservation::Conflict(conflict));
        }
        let row = insert(connection, &intent.wanted, HookStatus::Pending, now)?;
        let values = params![
            row.0,
            self.owners.own()?,
            intent.label.as_ref().map(Label::as_str),
            intent.managed_by.as_ref().map(ManifestName::as_str),
            intent.replaces.map(HookId::get),
        ];
        self.reader(connection).set("owner = ?2, label = ?3, managed_by = ?4, replaces = ?5", values)?;
        self.record(connection, row, Action::BeganSubscribe, now)?;
        Ok(Reservation::Reserved(row))
    }

    /// Makes the row hold the hook that its request made, whoever held that number before.
    pub(super) fn hold_or_take_over(
        &self,
        connection: &Connection,
        row: RowId,
        hook: HookId,
        now: Timestamp,
    ) -> Result<Activated, StoreFault> {
        match self.hold(connection, row, hook, now) {
            Ok(record) => Ok(record.into()),
            Err(StoreFault::Sqlite(error)) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                self.take_over(connection, row, hook, now)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Deletes a row whose request surely made no hook.
    pub(super) fn abandon_one(&self, connection: &Connection, row: RowId, now: Timestamp) -> Result<(), StoreFault> {
        let pending = "SELECT EXISTS (SELECT 1 FROM hooks WHERE id = ?1 AND status = 'pending')";
        if connection.prepare_cached(pending)?.query_row([row.0], |row| row.get(0))? {
            self.delete(connection, row, Action::Abandoned, now)?;
        }
        Ok(())
    }

    /// Gives a hook its owner and label.
    pub(super) fn manage_one(
        &self,
        connection: &Connection,
        change: &OwnershipChange,
        now: Timestamp,
    ) -> Result<Option<HookRecord>, StoreFault> {
        let mut reader = self.reader(connection);
        let Some(found) = reader.row(change.row)? else { return Ok(None) };
        let ending = match managed(&found, change) {
            Management::Refused => return Ok(None),
            Management::Unchanged => return Ok(Some(found.record)),
            Management::Settled(ending) => ending,
        };
        let target = completed_target(&found.record, change).map(TargetUrl::expose);
        let label = change.label.as_ref().map(Label::as_str);
        let values = params![change.row.0, change.managed_by.as_str(), label, target];
        reader.set("managed_by = ?2, label = ?3, target_url = coalesce(?4, target_url)", values)?;
        self.settle(&mut reader, change.row, ending, now).map(Some)
    }
}

//! What the registry is told of a removal: intents before their requests, and ends after them.

use std::fmt::Write;
use std::time::Instant;

use jiff::Timestamp;

use super::answered::AnsweredRemoval;
use super::outcome::RemovalOutcome;
use super::target::{Placed, RemovalTarget, as_recorded};
use super::{EndedRemoval, FINAL_TIMEOUT, Frontend, LOCK_TIMEOUT, Remover};
use crate::domain::{HookStatus, RowId};
use crate::error::Error;
use crate::store::{Removal, RemovalReservation};

impl<F: Frontend> Remover<'_, F> {
    /// Ends early: records what was answered and takes back the intents of what was not sent. What is in flight stays
    /// `removing`. Returns what there is to say.
    pub(super) fn interrupt(&mut self) -> Vec<Error> {
        // Nobody who has pressed Ctrl-C waits for long. What cannot be recorded stays `removing`, which is safe.
        let timeout = self.registry.set_timeout(FINAL_TIMEOUT);
        self.locked_until = Some(Instant::now());
        self.record(Vec::new());
        if !self.api.has_connected() {
            self.ready.extend(std::mem::take(&mut self.sent));
        }
        let (left, unrecorded) = self.take_back();
        let mut what = "while removing hooks".to_owned();
        // Writing to a string cannot fail.
        if !self.sent.is_empty() {
            let _ = write!(what, "; {} in flight are left as `removing`", self.sent.len());
        }
        if self.broken && !left.is_empty() {
            let _ = write!(what, "; {} that were not sent are left as `removing`", left.len());
        }
        let interrupted =
            Error::interrupted(what).hint("run the same command again: it continues where this one stopped");
        std::iter::once(interrupted).chain(unrecorded).chain(timeout.err().map(Error::from)).collect()
    }

    /// Records what has ended and the intents of what is to begin, which is ready then. Returns what is to begin later:
    /// what another process is at work on, what was refused for being too fast, and all of it while the registry is locked.
    pub(super) fn record(&mut self, targets: Vec<Placed>) -> Vec<Placed> {
        let ask_again = |answered: &AnsweredRemoval| answered.is_too_fast() && !self.concurrency.is_hopeless();
        let (refused, mut answered): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.answered).into_iter().partition(ask_again);
        let ends: Vec<(RowId, Removal)> = answered.iter().chain(&refused).filter_map(AnsweredRemoval::end).collect();
        let intents: Vec<RowId> = targets.iter().filter_map(|(_, target)| target.row()).collect();
        let recorded = if ends.is_empty() && intents.is_empty() {
            Ok((Vec::new(), Vec::new()))
        } else {
            self.registry.record_removals(&ends, &intents, Timestamp::now())
        };
        match recorded {
            Ok((mut records, begun)) => {
                self.locked_until = None;
                let of_refused = records.split_off(answered.iter().filter_map(AnsweredRemoval::end).count());
                self.end(answered, records, None);
                let refused = refused.into_iter().map(|refused| (refused.index, refused.target)).collect();
                let mut later = self.begin(targets, begun);
                later.extend(as_recorded(refused, of_refused));
                later
            }
            Err(error)
                if error.is_busy()
                    && Instant::now() < *self.locked_until.get_or_insert_with(|| Instant::now() + LOCK_TIMEOUT) =>
            {
                self.answered.extend(answered.into_iter().chain(refused));
                targets
            }
            Err(error) => {
                // A registry that can't be told outweighs what the server said, and nothing more is sent.
                self.broken = true;
                answered.extend(refused);
                let mut error = Some(Error::from(error));
                let records = answered.iter().filter_map(|answered| answered.target.as_removing().map(Some)).collect();
                self.end(answered, records, error.take_if(|_| !ends.is_empty()));
                self.fail(targets, error);
                Vec::new()
            }
        }
    }

    /// Sorts out what to send a request for, and what another process is at work on, which is returned.
    fn begin(&mut self, targets: Vec<Placed>, begun: Vec<RemovalReservation>) -> Vec<Placed> {
        let mut begun = begun.into_iter();
        let mut busy = Vec::new();
        for (index, target) in targets {
            match target {
                RemovalTarget::Held(id, record) | RemovalTarget::Resumed(id, record) => match begun.next() {
                    Some(RemovalReservation::InProgress) => busy.push((index, RemovalTarget::Held(id, record))),
                    Some(RemovalReservation::Forgotten) => self.ready.push_back((index, RemovalTarget::Elsewhere(id))),
                    Some(RemovalReservation::Ended(ended)) if self.options.by_id => {
                        self.ready.push_back((index, RemovalTarget::Ended(id, ended)));
                    }
                    Some(RemovalReservation::Ended(ended)) => {
                        let outcome = match ended.status {
                            HookStatus::Removed => RemovalOutcome::Removed,
                            _ => RemovalOutcome::Missing,
                        };
                        let hook = Self::recorded(ended, outcome);
                        self.finish(EndedRemoval { index, hook, error: None });
                    }
                    Some(RemovalReservation::Reserved { resumed: true }) => {
                        self.ready.push_back((index, RemovalTarget::Resumed(id, record)));
                    }
                    Some(RemovalReservation::Reserved { resumed: false }) | None => {
                        self.ready.push_back((index, RemovalTarget::Held(id, record)));
                    }
                },
                RemovalTarget::Nameless(record) => self.fail_nameless(index, record),
                RemovalTarget::Foreign(id, origin) => self.fail_foreign(index, id, origin),
                other => self.ready.push_back((index, other)),
            }
        }
        busy
    }

    /// Takes back the intents of what is ready and was not sent. Returns those targets as they are now, and why the
    /// registry could not be told, if that is new.
    fn take_back(&mut self) -> (Vec<Placed>, Option<Error>) {
        let ready: Vec<Placed> = self.ready.drain(..).collect();
        let ends: Vec<(RowId, Removal)> = ready.iter().filter_map(|(_, target)| target.taken_back()).collect();
        if ends.is_empty() {
            return (ready, None);
        }
        let error = if self.broken {
            None
        } else {
            match self.registry.record_removals(&ends, &[], Timestamp::now()) {
                Ok((records, _)) => return (as_recorded(ready, records), None),
                Err(error) => Some(Error::from(error)),
            }
        };
        self.broken = true;
        let records = ready.iter().filter_map(|(_, target)| target.as_removing().map(Some)).collect();
        (as_recorded(ready, records), error)
    }

    /// Ends what was not sent and is not going to be.
    pub(super) fn fail_rest(&mut self, waiting: Vec<Placed>) {
        // This is the last commit: it may wait as long as any other process's.
        let timeout = if self.ready.is_empty() { Ok(()) } else { self.registry.set_lock_timeout(LOCK_TIMEOUT) };
        let (ready, error) = self.take_back();
        let error = error.or(timeout.err().map(Error::from));
        self.fail(ready, error);
        self.fail(waiting, None);
    }
}

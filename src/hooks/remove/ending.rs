//! How the removal of each hook ended, for the user.

use super::answered::{AnsweredRemoval, RemovalResponse};
use super::outcome::{RemovalOutcome, RemovalSubject};
use super::target::{Placed, RemovalTarget};
use super::{EndedHook, EndedRemoval, Frontend, Remover};
use crate::api::Unsubscribed;
use crate::domain::{ApiOrigin, HookId, HookRecord, HookStatus};
use crate::error::{Error, ErrorKind};

impl<F: Frontend> Remover<'_, F> {
    /// Takes note of how requests ended; `records` are their rows now, unless the registry failed.
    pub(super) fn end(
        &mut self,
        answered: Vec<AnsweredRemoval>,
        records: Vec<Option<HookRecord>>,
        mut store_error: Option<Error>,
    ) {
        let mut records = records.into_iter();
        for AnsweredRemoval { index, target, answer } in answered {
            let (outcome, error) = self.judge(&target, answer);
            if let RemovalTarget::Elsewhere(id) = &target {
                self.frontend.note(&format!("hook {id} is not in the registry; the request was sent anyway"));
            }
            let target = match target {
                RemovalTarget::Held(id, record) | RemovalTarget::Resumed(id, record) => RemovalTarget::Held(
                    id,
                    Box::new(records.next().flatten().unwrap_or_else(|| after(*record, outcome))),
                ),
                other => other,
            };
            let hook = Self::unchanged(target, outcome);
            self.finish(EndedRemoval { index, hook, error: store_error.take().or(error) });
        }
    }

    /// Nothing is sent for these. One error says so for all.
    pub(super) fn fail(&mut self, targets: Vec<Placed>, mut error: Option<Error>) {
        for (index, target) in targets {
            let hook = Self::unchanged(target, RemovalOutcome::Failed);
            self.finish(EndedRemoval { index, hook, error: error.take() });
        }
    }

    /// A row that names no hook: there is nothing to send.
    pub(super) fn fail_nameless(&mut self, index: usize, record: Box<HookRecord>) {
        let message = format!("{} has no known hook id: it can't be removed from here", record.name());
        let error =
            Error::new(ErrorKind::OutcomeUnknown, message).hint("`bugfender-hooks doctor` says what to do about it");
        let hook = Self::recorded(record, RemovalOutcome::Unknown);
        self.finish(EndedRemoval { index, hook, error: Some(error) });
    }

    /// Ids are numbers of one installation: the same number at another is somebody else's hook.
    pub(super) fn fail_foreign(&mut self, index: usize, id: HookId, theirs: ApiOrigin) {
        let ours = self.origin;
        let message = format!("hook {id} is recorded for {theirs}, not for {ours}; it was not removed");
        let error = Error::new(ErrorKind::NotFound, message)
            .hint(format!("to remove it there: --api-url {theirs}"))
            .hint(format!("if {ours} has a hook {id} of its own, `import` it first"));
        let hook = Self::unchanged(RemovalTarget::Foreign(id, theirs), RemovalOutcome::Failed);
        self.finish(EndedRemoval { index, hook, error: Some(error) });
    }

    pub(super) fn finish(&mut self, ended: EndedRemoval) {
        (self.on_end)();
        self.ended.push(ended);
    }

    /// What an answer means for the user.
    fn judge(&self, target: &RemovalTarget, answer: RemovalResponse) -> (RemovalOutcome, Option<Error>) {
        match answer {
            Ok(Unsubscribed::Removed) => (RemovalOutcome::Removed, None),
            Ok(Unsubscribed::NotThere) => (RemovalOutcome::Missing, self.missing(target)),
            Err(failure) => match RemovalOutcome::of(&failure) {
                RemovalOutcome::Unknown => {
                    let error = failure.error.hint("the hook may still be there: run the same command again");
                    (RemovalOutcome::Unknown, Some(error))
                }
                outcome => (outcome, Some(failure.error)),
            },
        }
    }

    /// The error for a hook that is not there, unless that is fine.
    fn missing(&self, target: &RemovalTarget) -> Option<Error> {
        let id = target.id().filter(|_| !self.options.ignore_missing)?;
        let known = match target {
            RemovalTarget::Ended(_, record) => {
                format!("; the registry has it as {} since {}", record.status, record.updated_at)
            }
            _ => String::new(),
        };
        let message = format!("hook {id} does not exist (HTTP 404){known}");
        let error = Error::new(ErrorKind::NotFound, message).status(404);
        Some(error.hint("if that is expected, give --ignore-missing"))
    }

    /// A target as the registry has it now.
    fn unchanged(target: RemovalTarget, outcome: RemovalOutcome) -> EndedHook {
        match target {
            RemovalTarget::Held(_, record)
            | RemovalTarget::Resumed(_, record)
            | RemovalTarget::Ended(_, record)
            | RemovalTarget::Nameless(record) => Self::recorded(record, outcome),
            RemovalTarget::Elsewhere(id) | RemovalTarget::Foreign(id, _) => {
                let status = status_after(outcome).unwrap_or(HookStatus::Unknown);
                (RemovalSubject::Unrecorded(id, status), outcome)
            }
        }
    }

    pub(super) fn recorded(record: Box<HookRecord>, outcome: RemovalOutcome) -> EndedHook {
        (RemovalSubject::Recorded(record), outcome)
    }
}

/// The record of a row deleted by another process, as it would be by now.
fn after(record: HookRecord, outcome: RemovalOutcome) -> HookRecord {
    HookRecord { status: status_after(outcome).unwrap_or(HookStatus::Removing), ..record }
}

/// The status of a hook that is known to be removed.
fn status_after(outcome: RemovalOutcome) -> Option<HookStatus> {
    match outcome {
        RemovalOutcome::Removed => Some(HookStatus::Removed),
        RemovalOutcome::Missing => Some(HookStatus::Gone),
        RemovalOutcome::Failed | RemovalOutcome::Unknown => None,
    }
}

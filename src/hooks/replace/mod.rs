//! Making hooks anew: all new ones first, then the old ones go. Until it is recorded that a new one exists, its old one
//! stays; and what was cut short after that is finished by the next run.

mod choosing;

pub use choosing::{ReplacementOrder, ReplacementStep, ended, replacement_step};

use jiff::Timestamp;

use super::frontend::Frontend;
use super::remove::{RemovalOptions, RemovalOutcome, RemovalTarget, Removals, RemovedHook, Remover};
use super::subscribe::{SubscribeFailure, Subscribed, Subscriber, ends_all, not_subscribed};
use crate::domain::{HookId, HookRecord, Subscription};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Reservation, SubscriptionIntent};

/// A hook that is there, and the one that is to go.
struct Succession {
    subscribed: Subscribed,
    old: Option<Box<HookRecord>>,
}

impl From<Subscribed> for Succession {
    fn from(subscribed: Subscribed) -> Self {
        Self { subscribed, old: None }
    }
}

/// A hook that is to go, and the place of the one that has taken its place.
struct DueRemoval {
    place: usize,
    hook: HookId,
    record: Box<HookRecord>,
}

impl<F: Frontend> Subscriber<'_, F> {
    /// Makes all of these hooks anew, in order, whatever becomes of one of them, then removes the old ones; an interruption,
    /// and that nobody is signed in, ends it. What went wrong is given beside what did not.
    ///
    /// # Errors
    /// When waiting is not possible.
    pub fn replace_each(&self, orders: &[ReplacementOrder]) -> Result<(Vec<Subscribed>, Vec<Error>)> {
        let (mut done, mut errors, mut due) = (Vec::new(), Vec::new(), Vec::new());
        for order in orders {
            match self.replace(order) {
                Ok(Succession { subscribed, old }) => {
                    let removal =
                        |record: Box<HookRecord>| Some(DueRemoval { place: done.len(), hook: record.hook_id?, record });
                    due.extend(old.and_then(removal));
                    done.push(subscribed);
                }
                Err(SubscribeFailure { record, error }) => {
                    let stop = ends_all(&error);
                    errors.push(error);
                    done.extend(record.map(|record| Subscribed::found(*record)));
                    if stop {
                        break;
                    }
                }
            }
        }
        let is_interrupted = errors.last().is_some_and(|error: &Error| error.kind() == ErrorKind::Interrupted);
        if !is_interrupted {
            self.remove_old(due, &mut done, &mut errors)?;
        } else if !due.is_empty() {
            let finish =
                "the hooks that were replaced are still there: run the same command again, and they are removed";
            errors =
                errors.into_iter().map(|error| if ends_all(&error) { error.hint(finish) } else { error }).collect();
        }
        Ok((done, errors))
    }

    /// Sees that there is a new hook, and says which one is to go.
    fn replace(&self, order: &ReplacementOrder) -> Result<Succession, SubscribeFailure> {
        let wanted = &order.wanted;
        // Once it is known which hook is meant, another process may replace it just as well.
        let mut meant = order.old;
        loop {
            let step = replacement_step(self.registry, wanted, meant)?;
            if let Some(error) = step.refusal(order) {
                return Err(match step {
                    ReplacementStep::Unresolved(record) => SubscribeFailure::with_record(record, error),
                    _ => error.into(),
                });
            }
            match step {
                ReplacementStep::Subscribe => return self.subscribe(wanted).map(Succession::from),
                ReplacementStep::Replace(old) => {
                    meant = old.hook_id;
                    if let Some(subscribed) = self.make_anew(wanted, &old)? {
                        return Ok(self.succession(subscribed, old));
                    }
                }
                ReplacementStep::Finish { new, old } => {
                    // Nothing can be removed without it.
                    self.api()?;
                    self.frontend.note(&format!(
                        "{} has taken the place of {} already: no other is made, and the old one is removed",
                        new.name(),
                        old.name()
                    ));
                    self.note_missing_label(&new);
                    return Ok(Succession { subscribed: Subscribed::found(*new), old: Some(old) });
                }
                ReplacementStep::Replaced(new) => {
                    let replaced = new.replaces;
                    return Ok(Subscribed { replaced, ..Subscribed::found(*new) }.into());
                }
                ReplacementStep::Wait(replaced) => {
                    meant = meant.or(replaced);
                    self.wait(wanted)?;
                }
                // It was removed meanwhile, and nobody named it.
                _ => meant = None,
            }
        }
    }

    /// Makes a hook that takes the place of this one; none if something has come in the way meanwhile.
    fn make_anew(&self, wanted: &Subscription, old: &HookRecord) -> Result<Option<Subscribed>, SubscribeFailure> {
        let api = self.api()?;
        // From now on only what waits notices an interruption: nothing ends between intent and request.
        self.frontend.wait(async {})?.ok_or_else(|| not_subscribed(wanted))?;
        let intent = SubscriptionIntent {
            label: self.options.label.or(old.label.as_ref()).cloned(),
            managed_by: old.managed_by.clone(),
            replaces: old.hook_id,
            ..SubscriptionIntent::of(wanted.clone())
        };
        match self.registry.begin_subscribe(&intent, Timestamp::now())? {
            Reservation::Reserved(row) => self.send(api, wanted, row).map(|record| Some(Subscribed::made(record))),
            Reservation::Conflict(_) => Ok(None),
        }
    }

    /// What is to go once this one was made.
    fn succession(&self, subscribed: Subscribed, old: Box<HookRecord>) -> Succession {
        if subscribed.record.hook_id == old.hook_id {
            self.frontend.warn(&format!(
                "the server gives the new hook the number of {}: it is taken for the same, and nothing is removed",
                old.name()
            ));
            return subscribed.into();
        }
        Succession { subscribed, old: Some(old) }
    }

    /// Removes the hooks whose places others have taken.
    fn remove_old(&self, due: Vec<DueRemoval>, done: &mut [Subscribed], errors: &mut Vec<Error>) -> Result<()> {
        let Some(first) = due.first() else { return Ok(()) };
        let origin = first.record.subscription.origin.clone();
        let places: Vec<(usize, HookId)> = due.iter().map(|due| (due.place, due.hook)).collect();
        let targets = due.into_iter().map(|due| RemovalTarget::Held(due.hook, due.record)).collect();
        // They go because others are there: whether this run removes them is all the same.
        let options = RemovalOptions { by_id: false, ignore_missing: true };
        let remover = Remover::new(self.frontend, self.registry, self.api()?, &origin, options, &|| {});
        let Removals { hooks, interruption } = remover.remove(targets)?;
        errors.extend(interruption);
        for RemovedHook { index, outcome, error, .. } in hooks {
            let (place, old) = places[index];
            let subscribed = &mut done[place];
            let new = subscribed.record.name();
            match outcome {
                RemovalOutcome::Removed | RemovalOutcome::Missing => {
                    subscribed.replaced = Some(old);
                    if outcome == RemovalOutcome::Missing {
                        self.frontend.note(&format!("hook {old} was gone already; {new} has taken its place"));
                    }
                    // It is gone, and the registry could not be told.
                    errors.extend(error);
                }
                RemovalOutcome::Failed | RemovalOutcome::Unknown => {
                    let message = format!("{new} is there, and hook {old}, whose place it takes, was not removed");
                    let hint = format!("to remove it later: bugfender-hooks unsubscribe {old}");
                    errors.extend(error.map(|error| error.about(message).hint(hint)));
                }
            }
        }
        Ok(())
    }
}

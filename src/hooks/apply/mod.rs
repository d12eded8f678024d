//! Carrying out a plan: what changes in the registry only, then new hooks, then removals. A hook that takes the place of
//! another exists before that one goes.

mod creating;
mod lock;
mod managing;
mod secrets;

use serde::Serialize;

pub use self::lock::{ManifestLockGuard, lock_manifest};

use self::creating::{Creation, CreationEnd, Creator, CreatorState, RENEWAL_CHECK_INTERVAL};
use self::secrets::without_secrets;
use super::advice::unresolved;
use super::concurrency::ConcurrencyLimit;
use super::frontend::Frontend;
use super::remove::{RemovalOptions, RemovalOutcome, RemovalTarget, Removals, RemovedHook, Remover};
use crate::api::AuthenticatedApi;
use crate::domain::{ApiOrigin, HookId, HookStatus, ManifestName, Subscription};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{Plan, PlanAction, PlannedHook};
use crate::store::{Registry, SubscriptionIntent};

/// How to carry out a plan.
#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions {
    /// The most requests in flight.
    pub concurrency: usize,
}

/// What became of a planned hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplyOutcome {
    /// What was planned was done.
    Done,
    /// There was nothing to do.
    Unchanged,
    /// It failed, and everything is as it was.
    Failed,
    /// The new hook exists, and the one that it replaces was not removed.
    Incomplete,
    /// Whether the hook exists is not known.
    Unknown,
    /// It was not tried.
    Skipped,
}

/// A planned hook, and what became of it.
#[derive(Debug)]
pub struct AppliedHook {
    /// What was planned.
    pub planned: PlannedHook,
    /// What became of it.
    pub outcome: ApplyOutcome,
    /// The hook that there is now.
    pub hook_id: Option<HookId>,
}

/// What became of a plan.
#[derive(Debug)]
pub struct Applied {
    /// Each hook, in the order of the plan.
    pub hooks: Vec<AppliedHook>,
    /// What went wrong, in the same order; an interruption first.
    pub errors: Vec<Error>,
}

impl Applied {
    /// What becomes of a plan that has nothing to do.
    pub fn unchanged(plan: Plan) -> Self {
        let (hooks, errors) = untouched(plan);
        Self { errors: hidden(errors, &hooks), hooks }
    }
}

/// The errors of hooks, without what their manifest keeps secret.
fn hidden(errors: Vec<(usize, Error)>, hooks: &[AppliedHook]) -> Vec<Error> {
    errors.into_iter().map(|(index, error)| without_secrets(error, &hooks[index].planned)).collect()
}

/// The hooks of a plan before anything is done. Those of which it is not known whether they exist are left as they are, and
/// named.
fn untouched(plan: Plan) -> (Vec<AppliedHook>, Vec<(usize, Error)>) {
    let mut errors = Vec::new();
    let untouched = |(index, planned): (usize, PlannedHook)| {
        let outcome = match (planned.action, &planned.record) {
            (PlanAction::Unknown, Some(record)) => {
                errors.push((index, unresolved(record)));
                ApplyOutcome::Unknown
            }
            (action, _) if action.is_change() => ApplyOutcome::Skipped,
            _ => ApplyOutcome::Unchanged,
        };
        let hook_id = planned.record.as_ref().and_then(|record| record.hook_id);
        AppliedHook { planned, outcome, hook_id }
    };
    let hooks = plan.hooks.into_iter().enumerate().map(untouched).collect();
    (hooks, errors)
}

/// Carries out plans.
pub struct Applier<'a, F> {
    frontend: &'a F,
    registry: &'a dyn Registry,
    lock: &'a ManifestLockGuard<'a>,
    options: ApplyOptions,
    /// Called for each request that has ended.
    on_end: &'a dyn Fn(),
    hooks: Vec<AppliedHook>,
    errors: Vec<(usize, Error)>,
}

impl<'a, F: Frontend> Applier<'a, F> {
    /// One that works on this registry, whose lock for the manifest it has; `on_end` is called for each request that has
    /// ended.
    pub fn new(
        frontend: &'a F,
        registry: &'a dyn Registry,
        lock: &'a ManifestLockGuard<'a>,
        options: ApplyOptions,
        on_end: &'a dyn Fn(),
    ) -> Self {
        Self { frontend, registry, lock, options, on_end, hooks: Vec::new(), errors: Vec::new() }
    }

    /// Carries out a plan as far as it can be. What goes wrong with a hook is given beside what does not.
    ///
    /// # Errors
    /// When nobody is signed in and there are requests to send; nothing is changed then. When waiting is not possible.
    pub fn apply(mut self, plan: Plan, sign_in: impl FnOnce() -> Result<AuthenticatedApi>) -> Result<Applied> {
        let api = if plan.requests() > 0 { Some(sign_in()?) } else { None };
        let (name, origin) = (plan.name.clone(), plan.origin.clone());
        (self.hooks, self.errors) = untouched(plan);
        self.manage(&name);
        let mut finished = true;
        if let Some(api) = &api {
            finished = self.create(api, &name, &origin)? && self.remove(api, &origin)?;
        }
        self.errors.sort_by_key(|(index, _)| *index);
        let interrupted = || {
            Error::interrupted("while applying").hint("run the same command again: it continues where this one stopped")
        };
        let first = (!finished).then(interrupted).into_iter();
        let hidden = hidden(self.errors, &self.hooks);
        Ok(Applied { errors: first.chain(hidden).collect(), hooks: self.hooks })
    }

    fn end(&mut self, index: usize, outcome: ApplyOutcome, error: Option<Error>) {
        self.hooks[index].outcome = outcome;
        self.errors.extend(error.map(|error| (index, error)));
    }

    /// Makes new hooks. Returns whether it was not interrupted.
    fn create(&mut self, api: &AuthenticatedApi, name: &ManifestName, origin: &ApiOrigin) -> Result<bool> {
        let intents = self
            .hooks
            .iter()
            .enumerate()
            .filter_map(|(index, hook)| Some(Creation { index, intent: intent(&hook.planned, name, origin)? }));
        let creations: Vec<Creation> = intents.collect();
        if creations.is_empty() {
            return Ok(true);
        }
        let limit = ConcurrencyLimit::at_most(self.options.concurrency, creations.len());
        let (frontend, registry, lock, on_end) = (self.frontend, self.registry, self.lock, self.on_end);
        let creator = Creator { frontend, registry, api, lock, on_end, limit, state: CreatorState::default() };
        let (ends, finished) = creator.create(creations)?;
        for (index, end) in ends {
            match end {
                CreationEnd::Made(record) => {
                    self.hooks[index].hook_id = record.hook_id;
                    let is_replacement = self.hooks[index].planned.action == PlanAction::Replace;
                    let outcome = if is_replacement { ApplyOutcome::Incomplete } else { ApplyOutcome::Done };
                    self.end(index, outcome, None);
                }
                CreationEnd::Existed(record) => {
                    let message = format!("{} was made meanwhile by somebody else", record.name());
                    let error = Error::new(ErrorKind::Other, message).hint("run the same command again");
                    self.end(index, ApplyOutcome::Failed, Some(error));
                }
                CreationEnd::Failed(error) => self.end(index, ApplyOutcome::Failed, Some(error)),
                CreationEnd::InDoubt(error) => self.end(index, ApplyOutcome::Unknown, Some(error)),
            }
        }
        Ok(finished)
    }

    /// Removes hooks: those that have been replaced, and those that go. Returns whether it was not interrupted.
    fn remove(&mut self, api: &AuthenticatedApi, origin: &ApiOrigin) -> Result<bool> {
        let (mut places, mut targets) = (Vec::new(), Vec::new());
        for (index, AppliedHook { planned, outcome, .. }) in self.hooks.iter().enumerate() {
            let is_due = match planned.action {
                PlanAction::Remove => true,
                PlanAction::Replace => *outcome == ApplyOutcome::Incomplete,
                _ => false,
            };
            let record = planned.record.as_ref().filter(|_| is_due);
            if let Some((record, id)) = record.and_then(|record| Some((record, record.hook_id?))) {
                places.push(index);
                targets.push(RemovalTarget::Held(id, Box::new(record.clone())));
            }
        }
        if targets.is_empty() {
            return Ok(true);
        }
        let options = RemovalOptions { by_id: false, ignore_missing: true };
        let upkeep = || self.lock.renew();
        let remover = Remover::new(self.frontend, self.registry, api, origin, options, self.on_end)
            .at_most(self.options.concurrency)
            .with_upkeep(RENEWAL_CHECK_INTERVAL, &upkeep);
        let Removals { hooks, interruption } = remover.remove(targets)?;
        for RemovedHook { index, outcome, error, .. } in hooks {
            let index = places[index];
            let is_replacement = self.hooks[index].planned.action == PlanAction::Replace;
            let outcome = match outcome {
                RemovalOutcome::Removed | RemovalOutcome::Missing => ApplyOutcome::Done,
                RemovalOutcome::Failed | RemovalOutcome::Unknown if is_replacement => ApplyOutcome::Incomplete,
                RemovalOutcome::Failed => ApplyOutcome::Failed,
                RemovalOutcome::Unknown => ApplyOutcome::Unknown,
            };
            self.end(index, outcome, error);
        }
        Ok(interruption.is_empty())
    }
}

/// The intent to make a planned hook, if one is to be made.
fn intent(planned: &PlannedHook, name: &ManifestName, origin: &ApiOrigin) -> Option<SubscriptionIntent> {
    let wanted = planned.wanted.as_ref()?;
    if !matches!(planned.action, PlanAction::Create | PlanAction::Replace) {
        return None;
    }
    let old = planned.record.as_ref();
    Some(SubscriptionIntent {
        wanted: Subscription {
            origin: origin.clone(),
            app_id: wanted.app_id,
            event: wanted.event,
            target_url: wanted.target_url.clone(),
        },
        label: wanted.label.clone(),
        managed_by: Some(name.clone()),
        replaces: old.and_then(|old| old.hook_id),
        // Only a hook whose removal began may be in the way: its successor is made nevertheless.
        force: old.is_some_and(|old| old.status == HookStatus::Removing),
    })
}

//! The engines that make hooks and remove them. Each records an intent before it sends the request, and what came of it
//! afterwards, so that the registry knows every hook that may exist, whatever happens to the process.
//!
//! They know neither a command line nor a terminal: whoever runs them is their [`Frontend`].

mod advice;
mod apply;
mod concurrency;
mod frontend;
mod remove;
mod replace;
mod silence;
mod subscribe;

pub use advice::{or_by_force, selector, unresolved};
pub use apply::{Applied, AppliedHook, Applier, ApplyOptions, ApplyOutcome, ManifestLockGuard, lock_manifest};
pub use frontend::Frontend;
pub use remove::{
    HookChoice, RemovalOptions, RemovalOutcome, RemovalSubject, RemovalTarget, Removals, RemovedHook, Remover, pick,
    pick_settled,
};
pub use replace::{ReplacementOrder, ReplacementStep, ended, replacement_step};
pub use silence::{Drift, HookSigns, InboxEvidence, SharedEvents};
pub use subscribe::{SubscribeFailure, SubscribeOptions, Subscribed, Subscriber, check_target};

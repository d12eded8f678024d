//! Hooks as code: the file that says which hooks there are to be, and what has to be done for that. No network, no store.

mod plan;
mod wanted;

pub use plan::{Brake, Plan, PlanAction, PlanCounts, PlanOptions, PlannedHook, RemovalReason};
pub use wanted::{Manifest, WantedHook};

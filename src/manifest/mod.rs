//! Hooks as code: the file that says which hooks there are to be, and what has to be done for that. No network, no store.

mod diagnostics;
mod files;
mod format;
mod header;
mod hooks;
mod load;
mod plan;
mod target;
mod tree;
mod values;
mod wanted;

pub use format::ManifestFormat;
pub use load::{CheckedHook, CheckedManifest, LoadedManifest, check, load};
pub use plan::{Brake, Plan, PlanAction, PlanCounts, PlanOptions, PlannedHook, RemovalReason};
pub use wanted::{Manifest, WantedHook};

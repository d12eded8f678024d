//! Hooks as code: the file that says which hooks there are to be, and what has to be done for that. No network, no store.

mod diagnostics;
mod draft;
mod files;
mod format;
mod header;
mod hooks;
mod load;
mod plan;
mod schema;
mod target;
mod tree;
mod values;
mod wanted;

pub use draft::{ManifestDraft, TargetVariable};
pub use files::is_manifest_name;
pub use format::ManifestFormat;
pub use load::{CheckedHook, CheckedManifest, LoadedManifest, check, load};
pub use plan::{Brake, HiddenEndpoints, Plan, PlanAction, PlanCounts, PlanOptions, PlannedHook, RemovalReason};
pub use schema::schema;
pub use wanted::{Manifest, WantedHook};

//! Pure types and rules, without I/O.

pub mod delivery;
pub mod event;
mod event_key;
mod event_kind;
mod host;
mod ids;
pub mod jq;
mod json;
mod label;
mod names;
mod origin;
mod redaction;
mod secret;
mod selection;
mod shown_target;
pub mod signature;
mod subscription;
mod target_url;
mod text;
mod time;
mod web_url;

pub use event_kind::EventKind;
pub use host::{HostScope, host_scope};
pub use ids::{AppId, AppName, HookId};
pub use label::Label;
pub use names::{ClientId, ManifestName, ProfileName};
pub use origin::ApiOrigin;
pub use redaction::Redaction;
pub use secret::{AccessToken, Password, Secret};
pub use selection::Selection;
pub use shown_target::{ShownTarget, in_json, secrets_in, secrets_of_target, texts_of};
pub use subscription::{HookRecord, HookStatus, RowId, Subscription};
pub use target_url::TargetUrl;
pub use text::{bytes_without_bom, excerpt, is_unsafe_char, without_bom};
pub use time::{ShownTime, whole_second};

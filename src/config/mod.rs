//! Environment variables, directories, the configuration file, and settings with their sources.

mod actor;
pub mod directories;
mod edit;
pub mod environment;
mod file;
mod postgres_url;
mod settings;
pub mod text_file;
pub mod toml_text;
mod values;

pub use actor::actor_name;
pub use edit::ConfigEditor;
pub use environment::Environment;
pub use file::{ConfigFile, Key, Profile};
pub use postgres_url::PostgresUrl;
pub use settings::{Overrides, Settings, Source, Sourced};
pub use values::{CredentialStore, StoreUrl};

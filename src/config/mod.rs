//! What the tool is told and by whom: environment variables, directories, settings with their sources.

pub mod directories;
pub mod environment;
mod settings;

pub use environment::Environment;
pub use settings::{Overrides, Settings, Source, Sourced, StorePath};

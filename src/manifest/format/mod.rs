//! The formats of a manifest: TOML, YAML and JSON, read into one kind of tree.

mod json;
mod toml;
mod yaml;

use std::path::Path;

use super::tree::{SyntaxError, TreeNode};

/// A format that manifests are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestFormat {
    /// TOML 1.0.
    Toml,
    /// YAML 1.2: one document, without anchors and tags.
    Yaml,
    /// JSON, without comments.
    Json,
}

impl ManifestFormat {
    /// The format of a file with this name, as its extension says.
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// The format of a text that has no name: JSON if it begins as an object does, else TOML.
    pub(super) fn of_text(text: &str) -> Self {
        if text.trim_start().starts_with('{') { Self::Json } else { Self::Toml }
    }

    /// Reads a text.
    pub(super) fn parse(self, text: &str) -> Result<TreeNode<'_>, SyntaxError> {
        match self {
            Self::Toml => toml::parse(text),
            Self::Yaml => yaml::parse(text),
            Self::Json => json::parse(text),
        }
    }
}

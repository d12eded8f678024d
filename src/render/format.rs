//! The choices that people make about output.

use std::str::FromStr;

/// How results are written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputFormat {
    /// Aligned columns, for people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// A JSON record a line.
    Ndjson,
    /// Comma-separated values with a header line (RFC 4180).
    Csv,
}

impl OutputFormat {
    /// The names for `--output`.
    pub const NAMES: [&str; 4] = ["table", "json", "ndjson", "csv"];

    /// Whether programs read it as JSON.
    pub fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Ndjson)
    }
}

impl FromStr for OutputFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "ndjson" => Ok(Self::Ndjson),
            "csv" => Ok(Self::Csv),
            _ => Err(format!("the formats are {}", Self::NAMES.join(", "))),
        }
    }
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColorChoice {
    /// On a terminal, as `NO_COLOR`, `CLICOLOR_FORCE` and `TERM` have it.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorChoice {
    /// The names for `--color`.
    pub const NAMES: [&str; 3] = ["auto", "always", "never"];
}

impl FromStr for ColorChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err(format!("the choices are {}", Self::NAMES.join(", "))),
        }
    }
}

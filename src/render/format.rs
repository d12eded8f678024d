//! The output format and the use of colour.

use std::str::FromStr;

/// How results are written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputFormat {
    /// Aligned columns.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON record per line.
    Ndjson,
    /// Comma-separated values with a header line (RFC 4180).
    Csv,
    /// Tables in GitHub-flavoured Markdown.
    Markdown,
    /// As the table; errors and warnings are annotations of GitHub Actions.
    Github,
}

impl OutputFormat {
    /// The names for `--output`.
    pub const NAMES: [&str; 6] = ["table", "json", "ndjson", "csv", "markdown", "github"];

    /// Whether it is for people to read as it is.
    pub fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::Github)
    }

    /// Whether it is JSON.
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
            "markdown" => Ok(Self::Markdown),
            "github" => Ok(Self::Github),
            _ => Err(format!("the formats are {}", Self::NAMES.join(", "))),
        }
    }
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColorChoice {
    /// On a terminal, subject to `NO_COLOR`, `CLICOLOR_FORCE` and `TERM`.
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

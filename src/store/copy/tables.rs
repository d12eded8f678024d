//! The tables that are copied, and their columns: those that every backend has.

/// How many rows are read and written at once, at the most.
const BATCH_ROWS: usize = 2000;

/// About how many bytes of them end a batch.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// What is in a column. Any may be empty in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// A number, or a time in microseconds.
    Number,
    /// A time in microseconds that is a whole second.
    Second,
    /// A text.
    Text,
    /// Bytes.
    Bytes,
}

/// What a row has in a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopiedValue {
    /// Nothing.
    Empty,
    /// A number, or a time in microseconds.
    Number(i64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl CopiedValue {
    /// The number, if it is one.
    pub fn number(&self) -> Option<i64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The bytes, if it is some.
    pub fn bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    fn size(&self) -> usize {
        match self {
            Self::Empty | Self::Number(_) => 8,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// The values of a row, in the order of the table's columns.
pub type CopiedRow = Vec<CopiedValue>;

/// A table that is copied.
#[derive(Debug, PartialEq, Eq)]
pub struct CopiedTable {
    /// Its name.
    pub name: &'static str,
    /// The columns, the number of the row first.
    pub columns: &'static [(&'static str, ColumnKind)],
    /// Whether it is a part of the registry.
    pub is_of_registry: bool,
    /// The column that may hold megabytes.
    pub large: Option<&'static str>,
}

/// The table of attempts, whose rows have a number of two parts.
const ATTEMPTS: &str = "attempts";

/// How many attempts of each forward are kept.
const KEPT_ATTEMPTS: i64 = 16;

impl CopiedTable {
    /// What the rows are in the order of: the number of a row. An attempt has one with its forward's in it.
    pub fn key(&self, row: &[CopiedValue]) -> i64 {
        let number = |column: usize| row.get(column).and_then(CopiedValue::number).unwrap_or(0);
        if self.is_of_attempts() { number(0) * KEPT_ATTEMPTS + number(1) } else { number(0) }
    }

    /// Whether it is the one of attempts.
    pub fn is_of_attempts(&self) -> bool {
        self.name == ATTEMPTS
    }

    /// The column of the key, of a table that is not [`CopiedTable::is_of_attempts`].
    pub fn key_column(&self) -> &'static str {
        self.columns[0].0
    }
}

/// Rows that are read, up to a number and a size that are enough for one transaction.
#[derive(Default)]
pub(in crate::store) struct Batch {
    rows: Vec<CopiedRow>,
    bytes: usize,
}

impl Batch {
    pub const ROWS: usize = BATCH_ROWS;
    #[cfg(feature = "postgres")]
    pub const BYTES: usize = BATCH_BYTES;

    pub fn add(&mut self, row: CopiedRow) {
        self.bytes += row.iter().map(CopiedValue::size).sum::<usize>();
        self.rows.push(row);
    }

    pub fn is_full(&self) -> bool {
        self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    pub fn into_rows(self) -> Vec<CopiedRow> {
        self.rows
    }
}

use ColumnKind::{Bytes, Number, Second, Text};

/// All of them. What is not in them is of one backend, or of a process that is at work: leases, and who has a row of the
/// registry.
pub(in crate::store) static TABLES: [CopiedTable; 12] = [
    CopiedTable {
        name: "hooks",
        columns: &[
            ("id", Number),
            ("api_url", Text),
            ("hook_id", Number),
            ("app_id", Number),
            ("event", Text),
            ("target_url", Text),
            ("status", Text),
            ("label", Text),
            ("managed_by", Text),
            ("replaces", Number),
            ("reason", Text),
            ("created_at", Second),
            ("updated_at", Second),
        ],
        is_of_registry: true,
        large: None,
    },
    CopiedTable {
        name: "history",
        columns: &[
            ("number", Number),
            ("at", Second),
            ("actor", Text),
            ("action", Text),
            ("row_id", Number),
            ("api_url", Text),
            ("hook_id", Number),
            ("app_id", Number),
            ("event", Text),
            ("target_url", Text),
            ("reason", Text),
        ],
        is_of_registry: true,
        large: None,
    },
    CopiedTable {
        name: "targets",
        columns: &[
            ("id", Number),
            ("key", Text),
            ("shown", Text),
            ("paused_at", Number),
            ("resumed_at", Number),
            ("types", Text),
            ("together", Number),
        ],
        is_of_registry: false,
        large: None,
    },
    CopiedTable {
        name: "deliveries",
        columns: &[
            ("id", Number),
            ("sender", Text),
            ("received_at", Number),
            ("content_type", Text),
            ("events", Number),
            ("first_event", Number),
            ("last_event", Number),
            ("length", Number),
            ("via", Number),
            ("body", Bytes),
        ],
        is_of_registry: false,
        large: Some("body"),
    },
    CopiedTable {
        name: "events",
        columns: &[
            ("id", Number),
            ("delivery", Number),
            ("start", Number),
            ("length", Number),
            ("key", Bytes),
            ("event_id", Text),
            ("type", Text),
            ("app_id", Number),
            ("app", Number),
            ("title", Text),
            ("previous", Number),
            ("duplicates", Number),
            ("came_at", Number),
        ],
        is_of_registry: false,
        large: None,
    },
    CopiedTable {
        name: "forwards",
        columns: &[
            ("id", Number),
            ("target", Number),
            ("delivery", Number),
            ("first_event", Number),
            ("last_event", Number),
            ("state", Number),
            ("attempts", Number),
            ("due_at", Number),
            ("queued_at", Number),
            ("settled_at", Number),
            ("error", Text),
        ],
        is_of_registry: false,
        large: None,
    },
    CopiedTable {
        name: ATTEMPTS,
        columns: &[
            ("forward", Number),
            ("slot", Number),
            ("number", Number),
            ("at", Number),
            ("took", Number),
            ("status", Number),
            ("answer", Bytes),
            ("error", Text),
            ("next_at", Number),
        ],
        is_of_registry: false,
        large: None,
    },
    CopiedTable {
        name: "quarantine",
        columns: &[
            ("id", Number),
            ("sender", Text),
            ("received_at", Number),
            ("content_type", Text),
            ("reason", Text),
            ("body", Bytes),
        ],
        is_of_registry: false,
        large: Some("body"),
    },
    CopiedTable {
        name: "arrivals",
        columns: &[("id", Number), ("app_id", Number), ("type", Text), ("last_at", Number)],
        is_of_registry: false,
        large: None,
    },
    CopiedTable {
        name: "arrivals_seen",
        columns: &[("id", Number), ("last_event", Number)],
        is_of_registry: false,
        large: None,
    },
    CopiedTable {
        name: "polls",
        columns: &[("id", Number), ("api_url", Text), ("app_id", Number), ("list", Text), ("polled_until", Number)],
        is_of_registry: false,
        large: None,
    },
    CopiedTable {
        name: "missed",
        columns: &[
            ("id", Number),
            ("api_url", Text),
            ("app_id", Number),
            ("type", Text),
            ("events", Number),
            ("last_at", Number),
            ("found_at", Number),
        ],
        is_of_registry: false,
        large: None,
    },
];

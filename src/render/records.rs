//! Results: a list of records or a single one.

use serde::Serialize;

use crate::error::Result;

/// The meaning of a cell, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// No meaning.
    #[default]
    Plain,
    /// Success.
    Good,
    /// Needs attention.
    Caution,
    /// Failure.
    Bad,
    /// Less important.
    Faint,
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The text from any source, which is sanitised when shown.
    pub text: String,
    /// The meaning.
    pub tone: Tone,
}

impl Cell {
    /// A cell with a meaning.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    /// The cell of a value that may be missing.
    pub fn maybe(value: Option<impl ToString>) -> Self {
        value.map_or_else(|| Self::toned("-", Tone::Faint), |value| Self::from(value.to_string()))
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, tone: Tone::Plain }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

/// A record. JSON, CSV and NDJSON show its fields, the table its cells.
pub trait Row: Serialize {
    /// The names of its fields in order, which are the header line of CSV, even without records.
    const FIELDS: &'static [&'static str];

    /// The headers of the table's columns.
    const HEADERS: &'static [&'static str];

    /// The cells of its row in the table.
    fn cells(&self) -> Vec<Cell>;

    /// What `--quiet` prints; nothing for a record without an id.
    fn id(&self) -> Option<String> {
        None
    }
}

impl<T: Row> Row for &T {
    const FIELDS: &'static [&'static str] = T::FIELDS;
    const HEADERS: &'static [&'static str] = T::HEADERS;

    fn cells(&self) -> Vec<Cell> {
        T::cells(self)
    }

    fn id(&self) -> Option<String> {
        T::id(self)
    }
}

/// Whether a result is a list (an array in JSON) or a single record (an object).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Any number of records.
    List,
    /// Exactly one.
    Single,
}

/// A result.
#[derive(Debug, Clone)]
pub struct Records<T> {
    /// The records, in order.
    pub rows: Vec<T>,
    /// The shape of the result.
    pub shape: Shape,
}

impl<T> Records<T> {
    /// A list.
    pub fn list(rows: Vec<T>) -> Self {
        Self { rows, shape: Shape::List }
    }

    /// A single record.
    pub fn single(row: T) -> Self {
        Self { rows: vec![row], shape: Shape::Single }
    }
}

/// A single value: printed bare by default, and as a record in other formats.
#[derive(Debug, Clone)]
pub struct One<T>(pub T);

impl<T: Row> RecordSource for One<T> {
    type Row = T;

    fn shape(&self) -> Shape {
        Shape::Single
    }

    fn each(&self, each: &mut dyn FnMut(&T) -> Result<()>) -> Result<()> {
        each(&self.0)
    }
}

/// A source of records: in memory, or read one by one.
pub trait RecordSource {
    /// The type of record.
    type Row: Row;

    /// The shape of the result.
    fn shape(&self) -> Shape;

    /// Calls `each` with every record, in order.
    ///
    /// # Errors
    /// Those of the source and of `each`.
    fn each(&self, each: &mut dyn FnMut(&Self::Row) -> Result<()>) -> Result<()>;
}

impl<T: Row> RecordSource for Records<T> {
    type Row = T;

    fn shape(&self) -> Shape {
        self.shape
    }

    fn each(&self, each: &mut dyn FnMut(&T) -> Result<()>) -> Result<()> {
        self.rows.iter().try_for_each(each)
    }
}

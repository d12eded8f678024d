//! Results: a list of records, or one.

use serde::Serialize;

use crate::error::Result;

/// What a cell of a table means, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Somebody should look.
    Caution,
    /// It failed.
    Bad,
    /// Of less interest.
    Faint,
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// What it says. It may come from anywhere: it is sanitised when shown.
    pub text: String,
    /// What it means.
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

/// A record: JSON, CSV and NDJSON come from its fields, the table from its cells.
pub trait Row: Serialize {
    /// The names of its fields, in order: the header line of CSV, even with no record below it.
    const FIELDS: &'static [&'static str];

    /// The heads of the table's columns.
    const HEADERS: &'static [&'static str];

    /// The cells of the table's line.
    fn cells(&self) -> Vec<Cell>;

    /// What `--quiet` prints of it; nothing for a record without an id.
    fn id(&self) -> Option<String> {
        None
    }
}

/// Whether a result is a list, which is an array in JSON, or a single thing, which is an object.
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
    /// The records, in the order to show them.
    pub rows: Vec<T>,
    /// Whether they are a list.
    pub shape: Shape,
}

impl<T> Records<T> {
    /// A list.
    pub fn list(rows: Vec<T>) -> Self {
        Self { rows, shape: Shape::List }
    }

    /// A single thing.
    pub fn single(row: T) -> Self {
        Self { rows: vec![row], shape: Shape::Single }
    }
}

/// A single value: bare for people, a record with its name for programs.
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

/// Where records come from: from memory, or one by one from wherever they are kept.
pub trait RecordSource {
    /// The kind of record.
    type Row: Row;

    /// A list, or a single thing.
    fn shape(&self) -> Shape;

    /// Calls `each` with every record, in order.
    ///
    /// # Errors
    /// The source's own, or that of `each`, at once or at the end.
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

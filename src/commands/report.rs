//! The result of a command, its errors, and its exit code.

use crate::error::Error;
use crate::render::{Records, Row, Text, View};

/// The outcome of a command.
pub struct Report {
    /// The result.
    pub view: Option<Box<dyn View>>,
    /// What failed without stopping the rest. The first decides the exit code.
    pub errors: Vec<Error>,
    /// The exit code of another program, passed through.
    pub exit_code: Option<u8>,
}

impl Report {
    /// A result and no failure.
    pub(super) fn of(view: impl View + 'static) -> Self {
        Self { view: Some(Box::new(view)), errors: Vec::new(), exit_code: None }
    }

    /// Nothing to show and no failure.
    pub(super) fn nothing() -> Self {
        Self { view: None, errors: Vec::new(), exit_code: None }
    }

    /// A list of records, and what failed on the way.
    pub(super) fn list<T: Row + 'static>(rows: Vec<T>, errors: Vec<Error>) -> Self {
        Self { errors, ..Self::of(Records::list(rows)) }
    }

    pub(super) fn text(text: String) -> Self {
        Self::of(Text(text))
    }
}

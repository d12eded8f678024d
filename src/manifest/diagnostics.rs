//! What is wrong with manifests: all of it at once, in the order of files and lines.

use super::tree::{Position, SyntaxError};
use crate::error::{Error, TextPlace};

/// A place in one of the files, which are numbered in the order in which they were named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Spot {
    pub(super) file: usize,
    pub(super) position: Position,
}

/// Errors and warnings as they are found.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    /// The names of the files.
    files: Vec<String>,
    errors: Vec<(Spot, Error)>,
    warnings: Vec<(Spot, Error)>,
    has_broken_files: bool,
}

impl Diagnostics {
    /// Another file; its number is returned.
    pub(super) fn file(&mut self, name: String) -> usize {
        self.files.push(name);
        self.files.len() - 1
    }

    /// A place as people see it.
    pub(super) fn place(&self, spot: Spot) -> TextPlace {
        let Position { line, column } = spot.position;
        TextPlace { file: self.files[spot.file].clone(), line: line as usize, column: column as usize }
    }

    pub(super) fn error(&mut self, spot: Spot, error: Error) {
        self.errors.push((spot, error));
    }

    pub(super) fn wrong(&mut self, spot: Spot, message: impl Into<String>) {
        self.error(spot, Error::usage(message));
    }

    pub(super) fn warning(&mut self, spot: Spot, message: impl Into<String>) {
        self.warnings.push((spot, Error::usage(message)));
    }

    /// Remembers that what is only in one of the files is not known.
    pub(super) fn lose_a_file(&mut self) {
        self.has_broken_files = true;
    }

    /// A file that does not parse.
    pub(super) fn broken(&mut self, file: usize, SyntaxError { position, message, hint }: SyntaxError) {
        self.lose_a_file();
        let error = Error::usage(message);
        self.error(Spot { file, position }, hint.into_iter().fold(error, Error::hint));
    }

    /// A file that cannot be read. The error names it.
    pub(super) fn unreadable(&mut self, file: usize, error: Error) {
        self.lose_a_file();
        self.error(Spot { file, position: Position { line: 0, column: 0 } }, error);
    }

    /// Whether a file could not be read, so that names may be missing which are in it.
    pub(super) fn has_broken_files(&self) -> bool {
        self.has_broken_files
    }

    /// Ends with the errors, if there are any.
    pub(super) fn check(&mut self) -> Result<(), Vec<Error>> {
        let errors = std::mem::take(&mut self.errors);
        if errors.is_empty() { Ok(()) } else { Err(self.in_order(errors)) }
    }

    /// The warnings.
    pub(super) fn warnings(mut self) -> Vec<Error> {
        let warnings = std::mem::take(&mut self.warnings);
        self.in_order(warnings)
    }

    fn in_order(&self, mut found: Vec<(Spot, Error)>) -> Vec<Error> {
        found.sort_by_key(|(spot, _)| *spot);
        let with_place = |(spot, error): (Spot, Error)| {
            // The errors of whole files name them.
            if spot.position.line == 0 { error } else { error.at(self.place(spot)) }
        };
        found.into_iter().map(with_place).collect()
    }
}

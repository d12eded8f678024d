//! What is to be done to bring the schema of a store to the newest version.

/// The schema of a part of a store, or of all of it, which is migrated by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaState {
    /// What it is, in the words of messages: `registry`, `inbox`, `store`.
    pub part: &'static str,
    /// Where it is, for people.
    pub place: String,
    /// The version it has; 0 if it does not exist.
    pub found: i64,
    /// The newest version.
    pub newest: i64,
    /// The SQL that brings it there, empty if it is.
    pub script: String,
}

impl SchemaState {
    /// Whether nothing is to be done.
    pub fn is_newest(&self) -> bool {
        self.found == self.newest
    }
}

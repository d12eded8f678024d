//! What a store consists of.

/// What a store consists of, where, and how large it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreInfo {
    /// The registry.
    pub registry: PartInfo,
    /// The inbox.
    pub inbox: PartInfo,
    /// The receiver's keys.
    pub key: PartInfo,
}

/// A part of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartInfo {
    /// Where it is, for people.
    pub place: String,
    /// The bytes it takes up, with files beside it; `None` if it is not there.
    pub bytes: Option<u64>,
    /// The version of its schema, if it has one.
    pub schema: Option<i64>,
    /// The records in it by their kinds: hooks; events, and deliveries that could not be read.
    pub records: Vec<(&'static str, u64)>,
}

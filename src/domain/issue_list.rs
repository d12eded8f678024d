//! The lists that the API has of an app's issues.

/// A list of issues of an app, which the API gives one at a time (seen in a published client).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IssueList {
    /// Those that are open.
    Open,
    /// Those that are closed.
    Closed,
}

impl IssueList {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Open, Self::Closed];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }

    /// Its number in requests (seen: 1 and 4).
    pub const fn issue_status(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Closed => 4,
        }
    }
}

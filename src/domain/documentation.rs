//! Where the documentation of something is.

/// What stands before the path of a page: the files of the repository, once Cargo.toml names it.
const BASE: &str = if REPOSITORY.is_empty() { "docs/src/" } else { IN_REPOSITORY };

const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
const IN_REPOSITORY: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/src/");

/// A place in the documentation that errors send people to, each a heading of the page on troubleshooting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocTopic {
    /// It is not known whether a request was carried out.
    UnknownOutcome,
    /// The registry is not where it was kept, as in the cache of a CI system.
    LostRegistry,
    /// The disk is full.
    FullDisk,
}

impl DocTopic {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::UnknownOutcome, Self::LostRegistry, Self::FullDisk];

    /// The address of the place.
    pub fn address(self) -> String {
        let anchor = match self {
            Self::UnknownOutcome => "exit-code-8",
            Self::LostRegistry => "the-ci-cache-lost-the-registry",
            Self::FullDisk => "the-disk-is-full",
        };
        format!("{BASE}troubleshooting.md#{anchor}")
    }

    /// The hint that names it.
    pub fn hint(self) -> String {
        format!("more about this: {}", self.address())
    }
}

/// The address of the documentation of a command, given as it is typed, such as `store copy`.
pub fn command_page(command: &str) -> String {
    match command.split_once(' ') {
        None => format!("{BASE}reference/commands/{command}.md"),
        Some((first, _)) => format!("{BASE}reference/commands/{first}.md#{}", command.replace(' ', "-")),
    }
}

/// The address of the documentation's first page.
pub fn first_page() -> String {
    format!("{BASE}introduction.md")
}

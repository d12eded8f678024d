//! Sample events of both senders, and what `check` varies in them: what `trigger` and `check` send, and the sandbox
//! delivers.

pub mod bugfender;
pub mod instabug;

use jiff::Timestamp;

use crate::domain::whole_second;

/// How long a text makes a body of about 1 MB, in bytes. A limit of 1 MiB, which is common, still lets it through.
const LONG_TEXT: usize = 1_000_000;

fn long_text() -> String {
    "A long log has many lines like this one. ".chars().cycle().take(LONG_TEXT).collect()
}

fn now() -> String {
    whole_second(Timestamp::now()).to_string()
}

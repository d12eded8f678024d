//! The flags of `listen` for catching up.

use std::time::Duration;

use jiff::SignedDuration;

use super::super::hook_args::seconds_or_zero;
use super::super::units::{duration, duration_or_zero};

/// The shortest interval: more often would be a burden to the API, and gain nothing.
const SHORTEST_INTERVAL: SignedDuration = SignedDuration::from_secs(1);

/// Catching up with what no webhook brought.
// Help texts are not Markdown.
#[allow(clippy::doc_markdown)]
#[derive(clap::Args)]
#[command(next_help_heading = "Missing nothing")]
pub struct CatchUpArgs {
    /// Fetch what no webhook brought, as `events fetch` does: on start, and then this often, such as 15m
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    pub catch_up: Option<SignedDuration>,

    /// Read this much of what was read the last time again, as an event may be listed late
    #[arg(long, value_name = "DURATION", default_value = "3h", value_parser = duration_or_zero, requires = "catch_up")]
    pub look_back: SignedDuration,

    /// Wait this long between pages [default: 10, or 0 for a server on this machine]
    #[arg(long, value_name = "SECONDS", value_parser = seconds_or_zero, requires = "catch_up")]
    pub page_pause: Option<Duration>,

    /// Store what is fetched even if its ids are not those of webhooks
    #[arg(long, requires = "catch_up")]
    pub trust_ids: bool,
}

/// Reads how often something is done.
fn interval(text: &str) -> Result<SignedDuration, String> {
    let interval = duration(text)?;
    if interval < SHORTEST_INTERVAL { Err("the shortest interval is 1s".to_owned()) } else { Ok(interval) }
}

//! The flags of `listen` for missing nothing: catching up, and being told when something fails.

use std::time::Duration;

use clap::ValueHint;
use jiff::SignedDuration;

use super::super::hook_args::{TargetUrlArg, seconds_or_zero};
use super::super::units::{duration, duration_or_zero};

/// The shortest interval of checks: each may take so long.
const SHORTEST_CHECK: Duration = Duration::from_secs(10);

/// The shortest interval: more often would be a burden to the API, and gain nothing.
const SHORTEST_INTERVAL: SignedDuration = SignedDuration::from_secs(1);

/// Catching up with what no webhook brought, and being told when something fails.
// Help texts are not Markdown.
#[allow(clippy::doc_markdown)]
#[derive(clap::Args)]
#[command(next_help_heading = "Missing nothing")]
pub struct WatchArgs {
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

    /// With --alert: take a hook for silent when nothing came for this long
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = duration, requires = "alert")]
    pub silent_for: SignedDuration,

    /// Check this often, such as 5m, and on SIGHUP, that requests to --public-url arrive here, and warn if not; --allow-from does not apply to them
    #[arg(long, value_name = "DURATION", requires = "public_url", value_parser = check_interval)]
    pub self_check: Option<Duration>,

    /// Send a message to this endpoint when something fails, such as a target or the disk, and when it has recovered for a minute: a URL, or @FILE, reloaded on SIGHUP
    #[arg(long, value_name = "URL")]
    pub alert: Option<TargetUrlArg>,

    /// Make these messages with a template: slack, discord, teams, or a MiniJinja template file [default: JSON]
    #[arg(long, value_name = "FILE", requires = "alert", value_hint = ValueHint::FilePath)]
    pub alert_template: Option<String>,
}

/// Reads how often something is done.
fn interval(text: &str) -> Result<SignedDuration, String> {
    let interval = duration(text)?;
    if interval < SHORTEST_INTERVAL { Err("the shortest interval is 1s".to_owned()) } else { Ok(interval) }
}

/// Reads how often the receiver checks itself.
fn check_interval(text: &str) -> Result<Duration, String> {
    let interval = Duration::try_from(duration(text)?).unwrap_or_default();
    if interval >= SHORTEST_CHECK { Ok(interval) } else { Err("the shortest is 10s".to_owned()) }
}

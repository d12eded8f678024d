//! The command line of `listen`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueHint;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ipnet::IpNet;
use jiff::SignedDuration;
use url::Url;

use super::super::hook_args::{EventChoice, TargetUrlArg, event_parser, seconds};
use super::super::units::{address, duration, duration_or_zero, event_type, host_name, size};
use super::watch_args::WatchArgs;
use crate::context::Context;
use crate::domain::event::EVENT_TYPES;
use crate::domain::{AppName, Label, Redaction};
use crate::error::{Error, Result};
use crate::render::LogFormat;
use crate::ui::AllowedHost;

/// Receive webhooks of Bugfender and Luciq (Instabug), losing none
///
/// Each delivery is on disk before it is answered with 200, an event that arrives again is dropped, and events are
/// forwarded to endpoints and commands until they are accepted. Bugfender delivers to /bugfender/KEY, where KEY cannot be
/// guessed (--show-url prints the URL), and Luciq to /luciq or /instabug, with a signature. /healthz, /readyz and /metrics are
/// for monitoring. Ctrl-C or SIGTERM stops it once the requests in flight are finished.
// Help texts are not Markdown; each flag is one of the command line.
#[allow(clippy::doc_markdown, clippy::struct_excessive_bools)]
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The address to listen on; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4000", value_parser = address)]
    pub listen: SocketAddr,

    /// Print each event as it is stored and, in the table, each attempt to forward it
    #[arg(long)]
    pub print: bool,

    /// Print the URL for Bugfender to deliver to, and exit
    #[arg(long, conflicts_with_all = ["rotate_key", "print"])]
    pub show_url: bool,

    /// Replace the key in that URL, print the new URL, and exit; a running receiver uses it after a SIGHUP or a restart
    #[arg(long, conflicts_with = "print")]
    pub rotate_key: bool,

    /// With --rotate-key: how long the old key is still accepted, so that hooks can be replaced; 0 if it was leaked
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = duration_or_zero, requires = "rotate_key")]
    pub keep_old_key: SignedDuration,

    /// Keep the key in this file [default: next to the registry]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key_file: Option<PathBuf>,

    /// Read the secret for Luciq's signatures from this file; repeat during a rotation; reloaded on SIGHUP [env: BUGFENDER_HOOKS_LUCIQ_SECRET]
    #[arg(long, value_name = "FILE", visible_alias = "instabug-secret-file", value_hint = ValueHint::FilePath)]
    pub luciq_secret_file: Vec<PathBuf>,

    /// Redact these fields before storing events, such as device.user_data; separate with commas
    #[arg(long, value_name = "PATH,...")]
    pub redact: Vec<Redaction>,

    /// Drop a report of Luciq, which gives no ids, that arrives again within this time; later it is a new event
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration_or_zero)]
    pub dedupe_window: SignedDuration,

    /// Remove events that are older than this and not pending, such as 30d [default: never]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub retention: Option<SignedDuration>,

    /// Keep the inbox below this size, such as 2GiB: the oldest goes first, and never what is pending [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = some_size)]
    pub max_size: Option<u64>,

    /// Keep this much of the disk in reserve, for `events purge` to use when the disk is full; 0 for none
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub reserve: u64,

    /// Write {"url", "bugfender_url", "luciq_url", "instabug_url", "admin_url", "ui_url", "pid"} to this file once it serves
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ready_file: Option<PathBuf>,

    /// On shutdown, wait this long for requests and forwards in flight
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub drain_timeout: Duration,

    /// Write the log as lines of text, or of JSON
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = log_format())]
    log_format: LogFormat,

    #[command(flatten)]
    pub forwarding: ForwardArgs,

    #[command(flatten)]
    pub subscription: SubscribeArgs,

    #[command(flatten)]
    pub watching: WatchArgs,

    #[command(flatten)]
    pub limits: LimitArgs,

    #[command(flatten)]
    pub monitoring: MonitoringArgs,
}

/// Where events go from here.
// Help texts are not Markdown.
#[allow(clippy::doc_markdown)]
#[derive(clap::Args)]
#[command(next_help_heading = "Forwarding")]
pub struct ForwardArgs {
    /// Forward events to the targets in this TOML file; reloaded on SIGHUP
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Check the file of --config and everything that it names, and exit
    #[arg(long, requires = "config")]
    pub check: bool,

    /// Forward events to this endpoint: a URL, or @FILE; may be repeated
    #[arg(long, value_name = "URL")]
    pub forward_to: Vec<TargetUrlArg>,

    /// Forward events of one type: crash, issue, feedback, bug, apm or another; may be repeated
    #[arg(long = "route", value_name = "EVENT=URL")]
    pub routes: Vec<RouteArg>,

    /// Run this command for each event, with the event on standard input and details in BUGFENDER_EVENT_*; may be repeated
    #[arg(long, value_name = "CMD")]
    pub exec: Vec<String>,

    /// Run the commands of --exec with /bin/sh
    #[arg(long, requires = "exec")]
    pub shell: bool,

    /// Kill an --exec command that runs longer than this
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub exec_timeout: Duration,

    /// Send each event as a message: slack, discord, teams, or a MiniJinja template file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub template: Option<String>,

    /// Sign forwards per the Standard Webhooks specification with the secret in this file, created if missing
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub sign_with: Option<PathBuf>,

    /// Limit the attempts in flight per target
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub max_in_flight: u16,

    /// Dead-letter an event that was not accepted after this long
    #[arg(long, value_name = "DURATION", default_value = "72h", value_parser = duration)]
    pub max_age: SignedDuration,

    /// Wait up to this long after the first failure, doubling after each further failure up to 15 minutes
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub retry_wait: Duration,
}

impl Args {
    /// The format of the log, unless only the URL is asked for.
    pub fn log_format(&self) -> Option<LogFormat> {
        (!self.show_url && !self.rotate_key).then_some(self.log_format)
    }
}

fn log_format() -> impl TypedValueParser<Value = LogFormat> {
    PossibleValuesParser::new(LogFormat::NAMES).try_map(|name| name.parse::<LogFormat>())
}

/// A size that is not zero.
fn some_size(text: &str) -> Result<u64, String> {
    size(text).and_then(|bytes| if bytes > 0 { Ok(bytes) } else { Err("a limit must be more than 0".to_owned()) })
}

/// `EVENT=URL`. It is parsed when the command runs, as an error of clap's would show its password.
#[derive(Clone)]
pub struct RouteArg(String);

impl From<String> for RouteArg {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl ForwardArgs {
    /// Whether a URL is read from standard input.
    pub fn reads_stdin(&self) -> bool {
        self.forward_to.iter().any(TargetUrlArg::is_stdin) || self.routes.iter().any(|route| route.0.ends_with("=-"))
    }
}

impl RouteArg {
    /// The types of events, and where they go.
    pub fn read(&self, ctx: &Context) -> Result<(Vec<String>, TargetUrlArg)> {
        let parts = self.0.split_once('=').filter(|(event, url)| !event.is_empty() && !url.is_empty());
        let (event, url) = parts.filter(|(event, _)| !event.contains([':', '/'])).ok_or_else(|| {
            Error::usage("--route must have the form EVENT=URL").hint("such as crash=https://example.com/crashes")
        })?;
        let types = event.split(',').map(event_type).collect::<Result<Vec<_>, _>>();
        let types = types.map_err(|wrong| Error::usage(format!("--route: {wrong}")))?;
        for unknown in types.iter().filter(|kind| !EVENT_TYPES.contains(&kind.as_str())) {
            let known = EVENT_TYPES.join(", ");
            ctx.out().warn(&format!("--route: {unknown} is not a known event type; known types: {known}"));
        }
        Ok((types, url.to_owned().into()))
    }
}

/// Subscribing on start.
// Help texts are not Markdown.
#[allow(clippy::doc_markdown, rustdoc::bare_urls)]
#[derive(clap::Args)]
#[command(next_help_heading = "Subscribing")]
pub struct SubscribeArgs {
    /// Subscribe at Bugfender on start
    #[arg(long, requires = "public_url")]
    pub subscribe: bool,

    /// The apps: their ids, or addresses in the dashboard; repeat, or separate by commas [default: that of the profile]
    #[arg(long = "app-id", value_name = "ID", requires = "subscribe", value_delimiter = ',')]
    pub app_ids: Vec<AppName>,

    /// The events: repeat, separate by commas, or say "all"
    #[arg(long = "event", value_name = "EVENT", requires = "subscribe", default_value = "all", value_delimiter = ',',
          value_parser = event_parser())]
    pub events: Vec<EventChoice>,

    /// The public URL of this receiver, such as https://hooks.example.com; /bugfender/KEY is appended
    #[arg(long, value_name = "URL", value_parser = public_url)]
    pub public_url: Option<Url>,

    /// A name for finding the hooks again
    #[arg(long, value_name = "TEXT", requires = "subscribe")]
    pub label: Option<Label>,

    /// Remove the hooks created on start when stopping
    #[arg(long, requires = "subscribe")]
    pub ephemeral: bool,
}

/// Limits, and which clients are allowed.
// Help texts are not Markdown.
#[allow(clippy::doc_markdown)]
#[derive(clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Accept requests only from these networks, such as 10.0.0.0/8; may be repeated
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub allow_from: Vec<IpNet>,

    /// Trust a proxy on this machine or in a private network for the client address (X-Forwarded-For, Forwarded)
    #[arg(long)]
    pub trust_proxy: bool,

    /// Serve https with the certificate chain in this PEM file; reloaded on SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_key", value_hint = ValueHint::FilePath)]
    pub tls_cert: Option<PathBuf>,

    /// The private key of the certificate, in a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_hint = ValueHint::FilePath)]
    pub tls_key: Option<PathBuf>,

    /// Limit the size of a body
    #[arg(long, value_name = "SIZE", default_value = "5MiB", value_parser = body_size)]
    pub max_body: u64,

    /// Limit the time to receive the head of a request, and the time a connection may be idle
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub header_timeout: Duration,

    /// Limit the time to receive a body
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub body_timeout: Duration,

    /// Limit the number of open connections
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,
}

/// What monitoring asks.
// Help texts are not Markdown.
#[allow(clippy::doc_markdown)]
#[derive(clap::Args)]
#[command(next_help_heading = "Monitoring")]
pub struct MonitoringArgs {
    /// Serve /healthz, /readyz and /metrics on this address, over plain http and whatever --allow-from says, rather than with the deliveries
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub admin_listen: Option<SocketAddr>,

    /// Serve the page of `ui` there too; its address is in the ready file [default ADDR: 127.0.0.1:4001]
    #[arg(long)]
    pub ui: bool,

    /// With --ui: let events be replayed from the page to this host, or host and port; may be repeated
    #[arg(long = "allow-target", value_name = "HOST[:PORT]", requires = "ui")]
    pub allowed_targets: Vec<AllowedHost>,

    /// Serve them under this host name too, not only under IP addresses and localhost; may be repeated
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    pub admin_host: Vec<String>,
}

/// What most people need.
pub const IN_SHORT_HELP: &[(&str, &str)] = &[
    ("listen", "The address to listen on"),
    ("print", "Print each event as it is stored"),
    ("show_url", "Print the URL for Bugfender to deliver to"),
    ("retention", "Remove events older than this, such as 30d"),
    ("forward_to", "Forward events to this endpoint"),
    ("routes", "Forward events of one type"),
    ("exec", "Run this command for each event"),
    ("template", "Send messages: slack, discord, teams, or a file"),
    ("subscribe", "Subscribe at Bugfender on start"),
    ("app_ids", "The apps"),
    ("public_url", "The public URL of this receiver"),
    ("ephemeral", "Remove the hooks created on start when stopping"),
    ("catch_up", "Fetch what no webhook brought, this often"),
    ("self_check", "Call --public-url from outside, this often"),
    ("alert", "Send a message when something fails"),
    ("allow_from", "Accept requests only from these networks"),
    ("tls_cert", "Serve https with the certificates in this file"),
];

const EXAMPLES: &str = "\
Examples:
  bugfender-hooks listen --forward-to http://127.0.0.1:3000/events
  bugfender-hooks listen --route crash=@slack.txt --template slack
  bugfender-hooks listen --exec 'notify-send crash' --print
  bugfender-hooks listen --subscribe --public-url https://hooks.example.com
  bugfender-hooks listen --catch-up 15m --alert @slack.txt --alert-template slack";

/// Reads the URL that a path is added to.
fn public_url(text: &str) -> Result<Url, String> {
    let wrong = || "not a URL that a path can be added to, such as https://hooks.example.com".to_owned();
    let url: Url = text.parse().map_err(|_| wrong())?;
    let plain =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    if plain && url.has_host() && matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err(wrong()) }
}

/// Reads a network, or an address alone.
fn network(text: &str) -> Result<IpNet, String> {
    let wrong = || "not a network such as 10.0.0.0/8 or 2001:db8::/32".to_owned();
    text.parse().or_else(|_| text.parse().map(|address: std::net::IpAddr| address.into())).map_err(|_| wrong())
}

/// Reads the size of a body, which is held in memory.
fn body_size(text: &str) -> Result<u64, String> {
    let fits = (1..=256 * 1024 * 1024).contains(&size(text)?);
    if fits { size(text) } else { Err("the size is 1 byte to 256 MiB".to_owned()) }
}

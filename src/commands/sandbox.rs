//! `sandbox`: a local Bugfender to try everything against, with faults on demand.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::SignedDuration;
use serde_json::json;
use tempfile::TempDir;

use super::ready_file::ReadyFile;
use super::{Report, units};
use crate::config::environment;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::platform::{self, Stop, StopSignals};
use crate::sandbox::{self, Fault, IssuesOrder, Sandbox};

/// Serve a local stand-in for Bugfender until Ctrl-C
///
/// It serves OAuth under /auth/, the API under /api/, and under /sandbox/ its controls: POST emit (makes an event
/// and delivers it), hooks/ID/deactivate, hooks/ID/forget, reset; GET hooks, requests, deliveries. Standard output says
/// how to reach it.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = [EXAMPLES, FAULTS].concat())]
pub struct Args {
    #[command(flatten)]
    options: SandboxArgs,

    #[command(subcommand)]
    command: Option<SandboxCommand>,
}

const EXAMPLES: &str = "\
Examples:
  bugfender-hooks sandbox run -- ./ci/subscribe.sh
  bugfender-hooks sandbox --listen 127.0.0.1:4100 --token secret --state sandbox.json
  bugfender-hooks sandbox --fault subscribe=503x2 --fault unsubscribe=drop
  curl -d '{\"event\":\"new_crash\",\"app_id\":1001,\"duplicate\":1}' http://127.0.0.1:4100/sandbox/emit";

const FAULTS: &str = "

Faults are OP=WHAT[xN].
  OP    token, authorize, subscribe, unsubscribe, me, apps, issues, summary
  WHAT  a status such as 503 (503@2 adds Retry-After: 2); hang: never answers; redirect: to elsewhere;
        drop: acts, then closes the connection; truncate: acts, then breaks off the answer
  N     how many times; forever when not given

The service account for /auth/token is sandbox-client with the secret sandbox-secret, or with --client-key a key of
yours. --token-life 20 shows tokens being renewed.

Every event that was emitted is listed at /api/app/ID/issues, whether or not a hook got it.
A hook that was deactivated stays and gets nothing; one that was forgotten is gone, as if somebody
had deleted it in the dashboard.";

#[derive(clap::Args)]
struct SandboxArgs {
    /// The address to serve on; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", global = true)]
    listen: SocketAddr,

    /// The access token to accept [default: generated]
    #[arg(long, value_name = "TOKEN", global = true)]
    token: Option<String>,

    /// Keep the hooks in this file between runs
    #[arg(long, value_name = "FILE", global = true)]
    state: Option<PathBuf>,

    /// Delay every API response by at least this long
    #[arg(long, value_name = "MS", default_value_t = 0, global = true)]
    latency: u64,

    /// Accept the service account with the private key of the public key in this PEM file
    #[arg(long, value_name = "FILE", global = true)]
    client_key: Option<PathBuf>,

    /// Let access tokens from /auth/token expire after this long
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, global = true, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    token_life: u64,

    /// List no events that are older, as past Bugfender's retention
    #[arg(long, value_name = "DURATION", global = true, value_parser = units::duration)]
    retention: Option<SignedDuration>,

    /// List events under other ids than they are delivered with
    #[arg(long, global = true)]
    foreign_ids: bool,

    /// List events in this order
    #[arg(long, value_name = "ORDER", default_value = "newest", global = true, value_parser = issues_order())]
    issues_order: IssuesOrder,

    /// Make an operation fail, such as subscribe=503x2; may be repeated
    #[arg(long = "fault", value_name = Fault::SYNTAX, global = true)]
    faults: Vec<Fault>,

    /// Write {"url", "token", "pid"} to this file once it serves
    #[arg(long, value_name = "FILE", global = true)]
    ready_file: Option<PathBuf>,
}

fn issues_order() -> impl TypedValueParser<Value = IssuesOrder> {
    PossibleValuesParser::new(IssuesOrder::NAMES).try_map(|name| name.parse::<IssuesOrder>())
}

#[derive(Subcommand)]
enum SandboxCommand {
    /// Run a command against a fresh sandbox and exit with its exit code
    ///
    /// The command finds the URL and the token of the sandbox in its environment, and a scratch home for registry, inbox,
    /// configuration and sign-ins, which is removed at the end: nothing of yours is read or changed.
    Run {
        /// Let the command use your configuration, registry and inbox
        #[arg(long)]
        keep_home: bool,

        /// The command and its arguments
        #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

pub fn run(ctx: &Context, args: Args) -> Result<Report> {
    let Args { options, command } = args;
    if !options.listen.ip().is_loopback() {
        ctx.out().warn(&format!("{} can be reached by other machines", options.listen));
    }
    ctx.block_on(async {
        let signals = StopSignals::listen()?;
        let ready_file = ReadyFile::prepare(options.ready_file.clone());
        let sandbox = Sandbox::bind(options.listen, options.into()).await?;
        ready_file.write(json!({"url": sandbox.url(), "token": sandbox.token()}))?;
        match command {
            None => serve(ctx, sandbox, signals).await,
            Some(SandboxCommand::Run { keep_home, command }) => {
                let scratch = if keep_home { None } else { Some(tempfile::tempdir()?) };
                let surroundings = surroundings(ctx, &sandbox, scratch.as_ref().map(TempDir::path));
                run_beside(sandbox, &command, surroundings, signals).await
            }
        }
    })
}

impl From<SandboxArgs> for sandbox::SandboxOptions {
    fn from(args: SandboxArgs) -> Self {
        Self {
            token: args.token,
            state: args.state,
            latency: Duration::from_millis(args.latency),
            faults: args.faults,
            client_key: args.client_key,
            token_life: Duration::from_secs(args.token_life),
            retention: args.retention.map(SignedDuration::unsigned_abs),
            foreign_ids: args.foreign_ids,
            issues_order: args.issues_order,
        }
    }
}

async fn serve(ctx: &Context, sandbox: Sandbox, mut signals: StopSignals) -> Result<Report> {
    let (url, token) = (sandbox.url(), sandbox.token());
    let (url_name, token_name) = (environment::API_URL, environment::API_TOKEN);
    ctx.out().raw(&format!("export {url_name}={url}\nexport {token_name}={token}\n"))?;
    ctx.out().note("serving until Ctrl-C; set these two in another terminal");
    sandbox
        .serve(async {
            let _ = signals.next().await;
        })
        .await;
    Ok(Report::nothing())
}

/// Sets a variable, or removes it.
type EnvironmentChange = (&'static str, Option<OsString>);

/// What is changed in the environment of the command, which is said, as its effects are not what they seem otherwise.
fn surroundings(ctx: &Context, sandbox: &Sandbox, scratch: Option<&Path>) -> Vec<EnvironmentChange> {
    let mut changes = vec![
        (environment::API_URL, Some(sandbox.url().into())),
        (environment::API_TOKEN, Some(sandbox.token().into())),
        // It would win over the token, and be sent here if that were refused.
        (environment::REFRESH_TOKEN, None),
    ];
    let mut set = format!("{}={}, {}", environment::API_URL, sandbox.url(), environment::API_TOKEN);
    match scratch {
        Some(home) => {
            let of_yours = [environment::STORE, environment::PROFILE, environment::REQUIRE_STORE];
            changes.extend(of_yours.map(|name| (name, None)));
            changes.push((environment::HOME, Some(home.into())));
            set = format!("{set}, {}={} (removed at the end)", environment::HOME, home.display());
        }
        None => set.push_str("; it uses your configuration, registry and inbox"),
    }
    ctx.out().note(&format!("set for the command: {set}"));
    changes
}

/// Serves while a command runs. A Ctrl-C is the command's to handle: it gets it too.
async fn run_beside(
    sandbox: Sandbox,
    command: &[OsString],
    surroundings: Vec<EnvironmentChange>,
    mut signals: StopSignals,
) -> Result<Report> {
    let Some((program, arguments)) = command.split_first() else { return Ok(Report::nothing()) };
    let mut prepared = tokio::process::Command::new(program);
    prepared.args(arguments);
    for (name, value) in surroundings {
        match value {
            Some(value) => prepared.env(name, value),
            None => prepared.env_remove(name),
        };
    }
    let mut child = prepared.spawn().map_err(|error| {
        let message = format!("{} can't be run: {error}", program.to_string_lossy());
        Error::new(ErrorKind::Other, message).source(error)
    })?;
    let (send, ended) = tokio::sync::oneshot::channel::<std::io::Result<ExitStatus>>();
    let wait = async move {
        loop {
            tokio::select! {
                status = child.wait() => { let _ = send.send(status); return; }
                stop = signals.next() => if stop == Stop::Terminate {
                    platform::forward_terminate(&mut child);
                },
            }
        }
    };
    sandbox.serve(wait).await;
    let status = ended.await.map_err(|error| Error::new(ErrorKind::Other, error.to_string()))??;
    Ok(Report { exit_code: Some(platform::shell_exit_code(status)), ..Report::nothing() })
}

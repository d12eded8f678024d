//! `demo`: the main job, played with real commands against an in-process sandbox in a scratch directory.

use std::ffi::OsStr;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use url::Url;

use super::Report;
use crate::config::environment;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Body, Client, Method, Options, Repeat, Request, Roots};
use crate::render::sanitize;
use crate::sandbox::{self, Sandbox};

/// The app that the sandbox has from the start.
const APP: &str = "1001";

/// How long an event may take to arrive on this machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Play the main job against a sandbox, in a scratch directory
///
/// Signs in, subscribes, lists, receives a crash at a local endpoint, unsubscribes: each step with the command and
/// what it printed. Needs no account and leaves nothing behind. Exits non-zero if any step fails.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(ctx: &Context, _args: &Args) -> Result<Report> {
    let scratch = tempfile::tempdir()?;
    ctx.block_on(async {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let sandbox = Sandbox::bind(any_port, sandbox::Options::default()).await?;
        let (url, token) = (sandbox.url(), sandbox.token());
        let endpoint = Endpoint::open(any_port).await?;
        let stage = Stage { ctx, scratch: scratch.path(), url, token };
        let mut played = Ok(());
        sandbox.serve(async { played = stage.play(endpoint).await }).await;
        played
    })?;
    Ok(Report::nothing())
}

/// A local endpoint that hands on what is delivered to it.
struct Endpoint {
    url: String,
    arrived: mpsc::UnboundedReceiver<Value>,
}

impl Endpoint {
    async fn open(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let url = format!("http://{}/bugfender", listener.local_addr()?);
        let (send, arrived) = mpsc::unbounded_channel();
        let take = post(async move |axum::Json(events): axum::Json<Value>| {
            // Nobody waits for it any more when the demo is over.
            let _ = send.send(events);
        });
        let router = Router::new().route("/bugfender", take);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, arrived })
    }
}

struct Stage<'a> {
    ctx: &'a Context,
    scratch: &'a Path,
    url: String,
    token: String,
}

impl Stage<'_> {
    async fn play(&self, mut endpoint: Endpoint) -> Result<()> {
        self.say(&format!("A local Bugfender answers at {}; everything else is in a scratch directory.", self.url))?;
        self.say("\n# Sign in with an access token, given on standard input")?;
        // Somebody's own keyring is no scratch directory.
        self.command(&["auth", "login", "--with-token", "--credential-store", "file"], Some(&self.token)).await?;
        self.say("\n# Subscribe an endpoint to the crashes of an app")?;
        let subscribe =
            ["subscribe", "--app-id", APP, "--event", "new_crash", "--target-url", &endpoint.url, "--label", "demo"];
        self.command(&subscribe, None).await?;
        self.say("\n# Once more: nothing is sent, the hook is there")?;
        self.command(&subscribe, None).await?;
        self.say("\n# What the registry holds")?;
        self.command(&["list"], None).await?;
        self.say("\n# The app crashes")?;
        self.crash(&mut endpoint).await?;
        self.say("\n# Remove the hook at Bugfender, and sign out")?;
        self.command(&["unsubscribe", "--label", "demo", "--yes"], None).await?;
        self.command(&["auth", "logout"], None).await?;
        self.expect_no_hooks().await?;
        self.say("\nAll of it worked. Next: bugfender-hooks --help")
    }

    fn say(&self, text: &str) -> Result<()> {
        self.ctx.out().raw(&format!("{}\n", sanitize(text)))
    }

    /// Runs this same program and shows the command and what it printed.
    async fn command(&self, arguments: &[&str], input: Option<&str>) -> Result<()> {
        self.say(&format!("$ bugfender-hooks {}", arguments.join(" ")))?;
        let output = self.spawn(arguments, input).await?;
        let mut shown = String::new();
        for stream in [&output.stdout, &output.stderr] {
            for line in String::from_utf8_lossy(stream).lines() {
                // Writing to a string cannot fail.
                let _ = writeln!(shown, "  {line}");
            }
        }
        self.say(shown.trim_end())?;
        if output.status.success() {
            return Ok(());
        }
        Err(failed(&format!("`{}` ended with {}", arguments.join(" "), output.status)))
    }

    async fn spawn(&self, arguments: &[&str], input: Option<&str>) -> Result<Output> {
        let mut command = tokio::process::Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for variable in environment::ALL {
            command.env_remove(variable.name);
        }
        let store = self.scratch.join("registry.db");
        let mut address = OsStr::new("sqlite:").to_owned();
        address.push(store);
        command
            .env(environment::API_URL, &self.url)
            .env(environment::STORE, address)
            .env("HOME", self.scratch)
            .env("XDG_DATA_HOME", self.scratch);
        let mut child = command.spawn()?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            stdin.write_all(input.as_bytes()).await?;
        }
        Ok(child.wait_with_output().await?)
    }

    /// Makes the sandbox deliver a crash and waits for it at the endpoint.
    async fn crash(&self, endpoint: &mut Endpoint) -> Result<()> {
        self.say(&format!("$ curl -d '{{\"event\":\"new_crash\",\"app_id\":{APP}}}' {}/sandbox/emit", self.url))?;
        let body = json!({"event": "new_crash", "app_id": APP.parse::<i64>().unwrap_or_default()});
        self.ask(Method::POST, "emit", Some(body)).await?;
        let arrived = tokio::time::timeout(PATIENCE, endpoint.arrived.recv()).await;
        let Ok(Some(events)) = arrived else { return Err(failed("the crash did not arrive")) };
        let event = &events[0];
        if event["type"] != "crash" {
            return Err(failed("what arrived is not a crash"));
        }
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        self.say(&format!("  arrived at {}: {} {}", endpoint.url, text("type"), text("title")))
    }

    async fn expect_no_hooks(&self) -> Result<()> {
        let hooks = self.ask(Method::GET, "hooks", None).await?;
        if hooks == b"[]" { Ok(()) } else { Err(failed("the hook is still at the server")) }
    }

    /// Calls one of the sandbox's own paths.
    async fn ask(&self, method: Method, what: &str, body: Option<Value>) -> Result<Vec<u8>> {
        let url = Url::parse(&format!("{}/sandbox/{what}", self.url)).map_err(|error| failed(&error.to_string()))?;
        let options =
            Options { attempt_timeout: PATIENCE, total_timeout: None, tls: false, proxy: false, roots: Roots::System };
        let request = Request { method, url, body: body.map(Body::Json), repeat: Repeat::Never };
        let answer = Client::new(options)?.send(&request, None).await.map_err(|failure| failure.error)?;
        if !answer.status.is_success() {
            return Err(failed(&format!("the sandbox answered {what} with {}", answer.status)));
        }
        answer.body.map_err(|_| failed("the sandbox's answer broke off"))
    }
}

fn failed(what: &str) -> Error {
    Error::new(ErrorKind::Other, format!("the demo failed: {what}"))
}

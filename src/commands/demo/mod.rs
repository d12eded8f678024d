//! `demo`: the main job, played with real commands against an in-process sandbox in a scratch directory.

mod page;

use std::ffi::OsStr;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use url::Url;

use super::Report;
use crate::config::environment;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Client, ClientOptions, Method, Peer, Repeat, Request, RequestBody, Roots};
use crate::platform;
use crate::render::sanitize;
use crate::sandbox::{self, Sandbox};

/// The app that the sandbox has from the start.
const APP: &str = "1001";

/// How long an event may take to arrive on this machine.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How it signs in: somebody's own keyring is no scratch directory.
const LOGIN: &[&str] = &["auth", "login", "--with-token", "--credential-store", "file"];

/// What is said at the end.
const NEXT: &str = "\nEverything worked. Next: bugfender-hooks --help";

/// How often to look whether the receiver serves.
const GLANCE: Duration = Duration::from_millis(10);

/// Run the main workflow against a sandbox, in a temporary directory
///
/// Signs in, subscribes, lists, receives a crash, catches up with one that came while nothing
/// listened, unsubscribes: each step with the command and what it printed. Needs no account and leaves nothing behind. Exits non-zero if any step fails.
#[derive(clap::Args)]
pub struct Args {
    /// Then receive and forward some more, and show all of it in a browser until Ctrl-C
    #[arg(long)]
    ui: bool,
}

pub fn run(ctx: &Context, args: &Args) -> Result<Report> {
    let scratch = tempfile::tempdir()?;
    ctx.block_on(async {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let sandbox = Sandbox::bind(any_port, sandbox::SandboxOptions::default()).await?;
        let (url, token) = (sandbox.url(), sandbox.token());
        let stage = Stage { ctx, scratch: scratch.path(), url, token };
        let mut played = Ok(());
        let play = async {
            stage.play().await?;
            if args.ui { stage.show_page().await } else { stage.say(NEXT) }
        };
        sandbox.serve(async { played = play.await }).await;
        played
    })?;
    Ok(Report::nothing())
}

/// A receiver that serves.
struct DemoReceiver {
    child: Child,
    url: String,
}

struct Stage<'a> {
    ctx: &'a Context,
    scratch: &'a Path,
    url: String,
    token: String,
}

impl Stage<'_> {
    async fn play(&self) -> Result<()> {
        self.say(&format!("A local Bugfender answers at {}; everything else is in a scratch directory.", self.url))?;
        self.say("\n# Sign in with an access token, given on standard input")?;
        self.command(LOGIN, Some(&self.token)).await?;
        self.say("\n# Receive: each delivery is on disk before it is answered")?;
        let receiver = self.receive(&[]).await?;
        self.say("\n# Subscribe the receiver to the crashes of an app")?;
        let subscribe =
            ["subscribe", "--app-id", APP, "--event", "new_crash", "--target-url", &receiver.url, "--label", "demo"];
        self.command(&subscribe, None).await?;
        self.say("\n# Once more: nothing is sent, as the hook exists")?;
        self.command(&subscribe, None).await?;
        self.say("\n# What the registry holds")?;
        self.command(&["list"], None).await?;
        self.say("\n# The app crashes, and Bugfender delivers the event twice")?;
        self.crash(1, &["200", "200"]).await?;
        self.say("\n# It is in the inbox, once")?;
        self.command(&["events", "list"], None).await?;
        self.expect_crashes(&["webhook"]).await?;
        self.say("\n# Stop the receiver (SIGTERM)")?;
        self.end(receiver).await?;
        self.say("\n# The app crashes while nothing listens. Bugfender calls once, in vain")?;
        self.crash(0, &["null"]).await?;
        self.say("\n# Catch up through the API: nothing is missed")?;
        self.command(&["events", "fetch"], None).await?;
        self.command(&["events", "list"], None).await?;
        self.expect_crashes(&["poll", "webhook"]).await?;
        self.say("\n# Remove the hook at Bugfender, and sign out")?;
        self.command(&["unsubscribe", "--label", "demo", "--yes"], None).await?;
        self.command(&["auth", "logout"], None).await?;
        self.expect_no_hooks().await
    }

    /// Starts a receiver with these flags, and waits until it serves.
    async fn receive(&self, flags: &[&str]) -> Result<DemoReceiver> {
        let ready_file = self.scratch.join("receiver.json");
        // Where a receiver cannot be asked to end, it leaves its own.
        let _ = std::fs::remove_file(&ready_file);
        let shown = [&["listen", "--listen", "127.0.0.1:0"], flags].concat();
        self.say(&format!("$ bugfender-hooks {} &", shown.join(" ")))?;
        let mut command = self.prepare(&shown)?;
        command.arg("--ready-file").arg(&ready_file).stdin(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let deadline = tokio::time::Instant::now() + RECEIVE_TIMEOUT;
        loop {
            if let Ok(text) = std::fs::read_to_string(&ready_file) {
                let ready: Value = serde_json::from_str(&text).map_err(|error| failed(&error.to_string()))?;
                let url = ready["bugfender_url"].as_str().unwrap_or_default().to_owned();
                self.say(&format!("  listening on {}", ready["url"].as_str().unwrap_or_default()))?;
                return Ok(DemoReceiver { child, url });
            }
            if child.try_wait()?.is_some() || tokio::time::Instant::now() > deadline {
                return Err(failed("the receiver did not start"));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Asks the receiver to end, which it does well.
    async fn end(&self, mut receiver: DemoReceiver) -> Result<()> {
        platform::forward_terminate(&mut receiver.child);
        let output = tokio::time::timeout(RECEIVE_TIMEOUT, receiver.child.wait_with_output()).await;
        let output = output.map_err(|_| failed("the receiver did not stop"))??;
        // On Windows there is no asking: it is ended.
        if cfg!(windows) || output.status.success() {
            return self.say("  it finished what was in flight, and exited with code 0");
        }
        Err(failed(&format!("the receiver exited with {}", output.status)))
    }

    /// Looks into the inbox as a script would: there are crashes that came so, the newest first.
    async fn expect_crashes(&self, vias: &[&str]) -> Result<()> {
        let output = self.spawn(&["events", "list", "--output", "json"], None).await?;
        let events: Value = serde_json::from_slice(&output.stdout).map_err(|error| failed(&error.to_string()))?;
        let crashes = events.as_array().into_iter().flatten().filter(|event| event["type"] == "crash");
        let found: Vec<_> = crashes.map(|event| event["via"].as_str().unwrap_or_default()).collect();
        if found == vias { Ok(()) } else { Err(failed("other crashes are in the inbox than there should be")) }
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
        Err(failed(&format!("`{}` exited with {}", arguments.join(" "), output.status)))
    }

    async fn spawn(&self, arguments: &[&str], input: Option<&str>) -> Result<Output> {
        let mut child = self.prepare(arguments)?.spawn()?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            stdin.write_all(input.as_bytes()).await?;
        }
        Ok(child.wait_with_output().await?)
    }

    /// A command of this same program, in the scratch directory.
    fn prepare(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
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
            .env(environment::HOME, self.scratch);
        Ok(command)
    }

    /// Makes the sandbox deliver a crash, and again so often; it gets these answers.
    async fn crash(&self, duplicate: u32, answers: &[&str]) -> Result<()> {
        let mut body = json!({"event": "new_crash", "app_id": APP.parse::<i64>().unwrap_or_default()});
        if duplicate > 0 {
            body["duplicate"] = duplicate.into();
        }
        self.say(&format!("$ curl -d '{body}' {}/sandbox/emit", self.url))?;
        let answer = self.ask(Method::POST, "emit", Some(body)).await?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|error| failed(&error.to_string()))?;
        let deliveries = answer["deliveries"].as_array().into_iter().flatten();
        let statuses: Vec<_> = deliveries.map(|delivery| delivery["status"].to_string()).collect();
        if statuses.iter().any(|status| status == "null") {
            self.say("  not delivered: nothing answered")?;
        } else {
            self.say(&format!("  delivered, and answered with {}", statuses.join(" and ")))?;
        }
        if statuses == answers { Ok(()) } else { Err(failed("the crash was answered otherwise")) }
    }

    async fn expect_no_hooks(&self) -> Result<()> {
        let hooks = self.ask(Method::GET, "hooks", None).await?;
        if hooks == b"[]" { Ok(()) } else { Err(failed("the hook is still at the server")) }
    }

    /// Calls one of the sandbox's own paths.
    async fn ask(&self, method: Method, what: &str, body: Option<Value>) -> Result<Vec<u8>> {
        let url = Url::parse(&format!("{}/sandbox/{what}", self.url)).map_err(|error| failed(&error.to_string()))?;
        let options = ClientOptions {
            attempt_timeout: RECEIVE_TIMEOUT,
            total_timeout: None,
            tls: false,
            proxy: false,
            loopback_only: false,
            roots: Roots::System,
            peer: Peer::Api,
        };
        let request = Request { method, url, body: body.map(RequestBody::Json), repeat: Repeat::Never };
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

//! `demo --ui`: more events, targets that they are forwarded to, and the page on all of it.

use std::future::IntoFuture;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;

use super::{APP, LOGIN, NEXT, Stage, failed};
use crate::error::Result;
use crate::platform::{self, StopSignals};

/// What is sent, beside the crashes of the story.
const MORE: [&[&str]; 4] = [
    &["new_user_feedback", "--count", "2"],
    &["new_issue_separate", "--count", "3", "--batch", "--duplicate"],
    &["new_crash", "--count", "2", "--set", "title=OutOfMemoryError"],
    &["new_user_feedback", "--set", "title=Thanks!"],
];

impl Stage<'_> {
    /// Receives events of every kind, forwards them, and serves the page until a signal.
    pub(super) async fn show_page(&self) -> Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let endpoints = listener.local_addr()?;
        let accepted = post(|| async { "stored" });
        let refused = post(|| async { (StatusCode::NOT_FOUND, "there is no such channel") });
        let serving = axum::serve(listener, Router::new().route("/crm", accepted).route("/chat", refused));
        tokio::select! {
            served = serving.into_future() => Ok(served?),
            shown = self.show_beside(endpoints) => shown,
        }
    }

    async fn show_beside(&self, endpoints: SocketAddr) -> Result<()> {
        self.say("\n# Receive once more, and forward: `crm` accepts every event, `chat` knows no channel for issues")?;
        let file = self.scratch.join("targets.toml");
        let targets = format!(
            "[[target]]\nname = \"crm\"\nurl = \"http://{endpoints}/crm\"\n\n\
             [[target]]\nname = \"chat\"\nurl = \"http://{endpoints}/chat\"\nevents = [\"issue\"]\n"
        );
        std::fs::write(&file, targets)?;
        let receiver = self.receive(&["--config", &file.to_string_lossy()]).await?;
        self.command(LOGIN, Some(&self.token)).await?;
        let hook = ["--app-id", APP, "--event", "all", "--target-url", &receiver.url, "--label", "demo"];
        self.command(&[&["subscribe"], &hook[..]].concat(), None).await?;
        for event in MORE {
            self.command(&[&["trigger"], event, &["--to", &receiver.url]].concat(), None).await?;
        }
        self.say("\n# Look at all of it in a browser. Ctrl-C ends it, and removes the scratch directory")?;
        self.serve_page().await?;
        self.say("\n# Stop the receiver (SIGTERM)")?;
        self.end(receiver).await?;
        self.say(NEXT)
    }

    /// Serves the page until it is asked to end. What it says is said here, its address on standard output.
    async fn serve_page(&self) -> Result<()> {
        // Asked to end from now on, it ends what it has started first.
        let mut signals = StopSignals::listen()?;
        let mut shown = vec!["ui", "--listen", "127.0.0.1:0"];
        shown.extend(self.ctx.is_interactive().then_some("--open"));
        self.say(&format!("$ bugfender-hooks {}", shown.join(" ")))?;
        let mut command = self.prepare(&shown)?;
        command.stdin(Stdio::null()).stdout(Stdio::inherit()).stderr(Stdio::inherit()).kill_on_drop(true);
        let mut page = command.spawn()?;
        // A terminal's Ctrl-C reaches both.
        tokio::select! {
            _ = page.wait() => {}
            _ = signals.next() => platform::forward_terminate(&mut page),
        }
        let ended = page.wait().await?;
        // On Windows there is no asking: it is ended.
        if cfg!(windows) || ended.success() { Ok(()) } else { Err(failed(&format!("the page exited with {ended}"))) }
    }
}

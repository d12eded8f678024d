//! Forwarding to a command: the event on its standard input, details in its environment.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::response::{FailureScope, TargetResponse};
use crate::domain::event::EventFacts;
use crate::platform;
use crate::store::Forward;

/// A command that is run for each event.
#[derive(Debug, Clone)]
pub struct ExecTarget {
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Environment variables that are removed for it.
    pub hidden: Vec<&'static str>,
    /// How long it may take; after that, its process group is killed.
    pub timeout: Duration,
}

impl ExecTarget {
    pub(super) async fn deliver(&self, forward: &Forward) -> TargetResponse {
        let Some(event) = forward.events.first() else { return TargetResponse::Accepted };
        let scope = FailureScope::Event;
        match self.run(forward, event).await {
            Ok(Some(status)) if status.success() => TargetResponse::Accepted,
            Ok(Some(status)) => TargetResponse::Failed { error: format!("the command ended with {status}"), scope },
            Ok(None) => {
                let error = format!("the command took longer than {} s and was killed", self.timeout.as_secs_f32());
                TargetResponse::Failed { error, scope }
            }
            Err(error) => {
                let error = format!("{} can't be run: {error}", self.program.to_string_lossy());
                TargetResponse::Failed { error, scope: FailureScope::Target { pause: None, reached: false } }
            }
        }
    }

    /// Runs the command; `None` after a timeout.
    async fn run(&self, forward: &Forward, event: &EventFacts) -> std::io::Result<Option<std::process::ExitStatus>> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(facts(forward, event)).stdin(Stdio::piped());
        // Standard output is the receiver's own data.
        command.stdout(Stdio::from(std::io::stderr())).stderr(Stdio::inherit()).kill_on_drop(true);
        for name in &self.hidden {
            command.env_remove(name);
        }
        platform::own_group(&mut command);
        let mut group = ProcessGroup(command.spawn()?);
        let json = forward.event_json(event).to_vec();
        let Ok(ended) = tokio::time::timeout(self.timeout, feed(&mut group.0, &json)).await else {
            platform::kill_group(&mut group.0);
            // Killed already: this only reaps it.
            let _ = group.0.wait().await;
            return Ok(None);
        };
        ended.map(Some)
    }
}

/// A running command and its process group, killed when dropped.
struct ProcessGroup(Child);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // A command that ended has no id, and may leave background processes running.
        if self.0.id().is_some() {
            platform::kill_group(&mut self.0);
        }
    }
}

async fn feed(child: &mut Child, json: &[u8]) -> std::io::Result<std::process::ExitStatus> {
    let stdin = child.stdin.take();
    let give = async move {
        if let Some(mut stdin) = stdin {
            // A command may succeed without reading its input.
            let _ = stdin.write_all(json).await;
        }
    };
    tokio::select! {
        // Ends with the command, even if a process that it started keeps its input open.
        ended = child.wait() => return ended,
        () = give => {}
    }
    child.wait().await
}

fn facts(forward: &Forward, event: &EventFacts) -> Vec<(&'static str, OsString)> {
    // NUL cannot occur: it was replaced when the event was read.
    let mut facts = vec![
        ("BUGFENDER_EVENT_ID", event.id.clone().into()),
        ("BUGFENDER_EVENT_SOURCE", forward.sender.as_str().into()),
        ("BUGFENDER_EVENT_RECEIVED_AT", forward.received_at.to_string().into()),
        ("BUGFENDER_EVENT_ATTEMPT", (forward.attempts + 1).to_string().into()),
    ];
    facts.extend(event.event_type.as_ref().map(|kind| ("BUGFENDER_EVENT_TYPE", kind.into())));
    facts.extend(event.app_id.map(|app| ("BUGFENDER_EVENT_APP_ID", app.to_string().into())));
    facts.extend(event.title.as_ref().map(|title| ("BUGFENDER_EVENT_TITLE", title.into())));
    facts
}

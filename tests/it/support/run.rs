//! Running the binary in a home of its own.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::SandboxServer;

/// A scratch home directory and the environment of the runs in it.
pub struct Home {
    dir: TempDir,
    variables: Vec<(String, String)>,
}

impl Home {
    pub fn new() -> Self {
        // No test gets at the keyring of the person who runs it.
        let no_keyring = ("DBUS_SESSION_BUS_ADDRESS".to_owned(), "unix:path=/nonexistent".to_owned());
        Self { dir: tempfile::tempdir().unwrap(), variables: vec![no_keyring] }
    }

    /// A home whose runs talk to a sandbox and are signed in.
    pub fn of(sandbox: &SandboxServer) -> Self {
        Self::at(&sandbox.url, &sandbox.token)
    }

    /// A home whose runs talk to a server with a token.
    pub fn at(url: &str, token: &str) -> Self {
        Self::new().set("BUGFENDER_API_URL", url).set("BUGFENDER_API_TOKEN", token)
    }

    /// A home with this many hooks on record for a server that made none.
    pub fn holding(url: &str, hooks: i64) -> Self {
        let home = Self::at(url, "t");
        let target = ["--target-url", "https://hooks.example.com/bf"];
        home.json(&[&["import", "1", "--app-id", "1", "--event", "new_crash"], &target[..]].concat());
        let registry = rusqlite::Connection::open(home.registry()).unwrap();
        let sql = "INSERT INTO hooks (id, api_url, hook_id, app_id, event, target_url, status, created_at, updated_at) \
                   VALUES (?1, ?2, ?1, 1, 'new_crash', 'https://h.example/' || ?1, 'active', 1, 1)";
        for hook in 2..=hooks {
            registry.execute(sql, (hook, url)).unwrap();
        }
        home
    }

    /// Keeps everybody from writing to the registry until it is dropped.
    pub fn lock(&self) -> rusqlite::Connection {
        let registry = rusqlite::Connection::open(self.registry()).unwrap();
        registry.execute_batch("BEGIN IMMEDIATE").unwrap();
        registry
    }

    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn unset(mut self, name: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The directory that registry and credentials are kept in.
    pub fn data(&self) -> PathBuf {
        self.path().join(".local/share/bugfender-hooks")
    }

    pub fn registry(&self) -> PathBuf {
        self.data().join("registry.db")
    }

    /// The file of the only credential; a file that is not there when there is none.
    pub fn credentials(&self) -> PathBuf {
        let files = std::fs::read_dir(self.data().join("credentials")).into_iter().flatten().flatten();
        let mut files =
            files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|kind| kind == "json"));
        files.next().unwrap_or_else(|| self.data().join("credentials/none.json"))
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path().join(".config/bugfender-hooks/config.toml")
    }

    /// The command, in a cleared environment.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bugfender-hooks"));
        command.args(args).env_clear().env("HOME", self.path()).current_dir(self.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        Run::of(self.command(args).output().unwrap())
    }

    pub fn run_with_input(&self, args: &[&str], input: &str) -> Run {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        // Some commands end before they have read it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Run::of(child.wait_with_output().unwrap())
    }

    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    /// Runs `args` with `--output json`, which must succeed, and gives the result.
    pub fn json(&self, args: &[&str]) -> Value {
        let run = self.run(args.iter().chain(&["--output", "json"]));
        assert_eq!(run.code, 0, "{run}");
        run.json()
    }

    /// Subscribes, which must succeed, and gives the record.
    pub fn subscribe(&self, app: &str, event: &str, url: &str) -> Value {
        self.json(&["subscribe", "--app-id", app, "--event", event, "--target-url", url])[0].clone()
    }

    /// The status of every row of the registry, in order.
    pub fn statuses(&self) -> Vec<String> {
        let rows = self.json(&["list", "--all"]);
        rows.as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap().to_owned()).collect()
    }
}

/// What a run showed and how it ended.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// The line for programs at the end of standard error.
    pub fn error(&self) -> Value {
        let line = self.stderr.lines().last().unwrap_or_default();
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {self}"))["error"].clone()
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code: {}\n----- stdout\n{}----- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

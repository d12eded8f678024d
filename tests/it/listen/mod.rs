//! `listen`: the real receiver, real sockets, a real inbox.

mod alerts;
pub mod client;
mod durability;
mod edges;
mod exec;
mod forward;
mod intake;
mod lifecycle;
mod limits;
mod observe;
mod operators;
mod page;
mod self_check;
mod sick_targets;
pub mod sink;
pub mod store;
mod subscribe;
mod target_file;
mod targets;
mod verification;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bugfender_hooks::store::sqlite::SqliteStore;
use bugfender_hooks::store::{EventPage, EventRecord, EventSelection, Inbox, Quarantined, Store};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use self::client::{Reply, call, request};
use self::sink::{Call, Sink};
use crate::support::{Home, Run, have, wait_until};

/// A `listen` that serves, until it is dropped.
pub struct Receiver {
    child: Child,
    /// Host and port.
    pub address: String,
    /// The path that Bugfender delivers to.
    pub path: String,
    pub ready: Value,
    log: PathBuf,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Receiver {
    pub fn start(home: &Home, args: &[&str]) -> Self {
        Self::of(home, Self::command(home, args))
    }

    /// The same at an address, such as that of one before.
    pub fn start_at(home: &Home, address: &str, args: &[&str]) -> Self {
        let fixed = ["listen", "--listen", address, "--ready-file", "ready.json"];
        Self::of(home, home.command(fixed.iter().chain(args)))
    }

    fn command(home: &Home, args: &[&str]) -> Command {
        let fixed = ["listen", "--listen", "127.0.0.1:0", "--ready-file", "ready.json"];
        home.command(fixed.iter().chain(args))
    }

    /// A program that ends up as a receiver: it gets the receiver's command line after its own.
    fn command_of(program: &[&str], home: &Home, args: &[&str]) -> Command {
        let inner = Self::command(home, args);
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(inner.get_program()).args(inner.get_args()).current_dir(home.path());
        command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// Runs a command that ends up as a receiver, and waits until it serves.
    fn of(home: &Home, mut command: Command) -> Self {
        let (ready_file, log) = (home.path().join("ready.json"), home.path().join("listen.log"));
        let _ = fs::remove_file(&ready_file);
        command.stdout(File::create(home.path().join("listen.out")).unwrap()).stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut ready = Value::Null;
        wait_until("the receiver serves", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {ended:?}: {}", fs::read_to_string(&log).unwrap());
            ready = fs::read(&ready_file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
            !ready.is_null()
        });
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        let address = text("url").split_once("://").unwrap().1.to_owned();
        let path = text("bugfender_url").split_once(&address).map_or_else(String::new, |(_, path)| path.to_owned());
        Self { child, address, path, ready, log }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Posts what Bugfender would.
    pub fn post(&self, body: impl AsRef<[u8]>) -> Reply {
        self.post_to(&self.path, &["content-type: application/json"], body)
    }

    fn post_to(&self, path: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Reply {
        let what = format!("POST {path}");
        call(&self.address, &request(&what, headers, body.as_ref())).unwrap_or_else(|| panic!("no answer: {what}"))
    }

    /// Posts an event with this id, which must be taken.
    fn event(&self, id: impl std::fmt::Display) {
        let reply = self.post(format!(r#"[{{"id":"{id}","type":"crash"}}]"#));
        assert_eq!((reply.status, reply.json()["stored"].as_i64()), (200, Some(1)), "{reply:?}");
    }

    pub fn get(&self, path: &str) -> Reply {
        call(&self.address, &request(&format!("GET {path}"), &[], b"")).unwrap()
    }

    /// A metric's value, by its name with the labels; 0 when it is not there.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").body;
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        found.unwrap_or_default()
    }

    /// A metric of a target, which is named by where it is and perhaps by more.
    fn metric_of(&self, name: &str, target: &str) -> u64 {
        let origin = target.rsplit_once('/').unwrap().0;
        let start = format!("bugfender_hooks_{name}{{target=\"{origin}");
        let text = self.get("/metrics").body;
        let found = text.lines().find_map(|line| line.strip_prefix(&start)?.rsplit_once(' ')?.1.parse().ok());
        found.unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.ready["pid"].as_i64().unwrap()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Asks it to end, and waits: exit code, and what it said.
    pub fn end(self) -> (i32, String) {
        self.signal(Signal::TERM);
        self.wait()
    }

    fn wait(mut self) -> (i32, String) {
        let mut status = None;
        wait_until("the receiver ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        (status.unwrap().code().unwrap_or(-1), self.log())
    }

    /// A field of `/proc/PID/status`, in KiB.
    fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.ready["pid"])).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

/// Runs a receiver that is not to serve, and gives what it said.
fn refused(home: &Home, args: &[&str]) -> Run {
    let mut child = home.spawn(&[&["listen", "--listen", "127.0.0.1:0"], args].concat());
    wait_until("it is refused", || child.try_wait().unwrap().is_some());
    Run::of(child.wait_with_output().unwrap())
}

/// The file of the inbox.
fn inbox_file(home: &Home) -> PathBuf {
    home.data().join("registry.inbox.db")
}

fn inbox(home: &Home) -> Box<dyn Inbox> {
    SqliteStore::at(&home.registry()).existing_inbox().unwrap().unwrap()
}

/// Every event, in order of arrival.
fn events(home: &Home) -> Vec<EventRecord> {
    let mut events = Vec::new();
    let page = EventPage { with_json: true, ..EventPage::default() };
    let each = &mut |event| {
        events.push(event);
        true
    };
    inbox(home).events(&EventSelection::default(), page, each).unwrap();
    events
}

/// The ids of every event, in order of arrival.
fn ids(home: &Home) -> Vec<String> {
    events(home).into_iter().map(|event| event.id).collect()
}

/// How many forwards wait. `/readyz` says so too, though it may say what was a moment ago.
fn pending(home: &Home) -> u64 {
    inbox(home).backlog().unwrap().pending
}

fn quarantined(home: &Home) -> Vec<Quarantined> {
    let inbox = inbox(home);
    let numbers = inbox.quarantined(None, None).unwrap().into_iter().map(|one| one.number);
    numbers.flat_map(|number| inbox.quarantined(Some(number), None).unwrap()).collect()
}

/// Every file below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The permissions of a file.
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Runs a program with this on its standard input and gives what it printed.
fn run_program(program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    output.stdout
}

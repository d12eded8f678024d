//! The harness: a scratch home, a cleared environment, servers on free ports, runs that are compared whole.

pub mod browser;
pub mod bugfender;
pub mod inbox;
pub mod issue_api;
pub mod issue_server;
pub mod nginx;
mod oauth;
pub mod postgres;
mod run;
mod sandbox;
mod served;
mod server;
mod terminal;

pub use oauth::OauthServer;
pub use run::{Home, Run};
pub use rustix::process::Signal;
pub use sandbox::SandboxServer;
pub use server::{Exchange, Scripted, answer, http_get, http_post, http_request, read};
pub use terminal::Terminal;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::Child;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Pid;

/// The longest that a test waits for anything. Waits end as soon as what they wait for is there.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `done` says so.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "gave up waiting: {what}");
        // What is waited for needs the processor more than who looks.
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// An address of this machine that nobody listens on, and that nobody is given who asks for any: other tests are on
/// 127.0.0.1.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, high | 0x80, low, NEXT.fetch_add(1, Ordering::Relaxed)], 4000))
}

/// Sends a signal to a process.
pub fn signal(child: &Child, signal: Signal) {
    rustix::process::kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits for a line of a child's standard error that holds this.
pub fn wait_for_line(child: &mut Child, text: &str) {
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(text)), "{text} never came");
}

/// Whether a program that a test needs is there. In CI a missing one is a failure.
pub fn have(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|dir| dir.join(program).is_file());
    is_there(found, program)
}

/// Fails in CI, and says that the test is skipped elsewhere, when what a test needs was not found.
pub fn is_there(found: bool, what: &str) -> bool {
    assert!(found || std::env::var_os("CI").is_none(), "{what} is missing: CI must install it");
    if !found {
        eprintln!("skipped: {what} is not installed");
    }
    found
}

/// Compares text with its snapshot, with what differs from run to run replaced.
#[macro_export]
macro_rules! assert_shown {
    ($name:expr, $text:expr) => {{
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(true);
        settings.set_omit_expression(true);
        settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "[TIME]");
        settings.add_filter(r"(127\.0\.0\.1|localhost):\d+", "$1:[PORT]");
        settings.add_filter(r"127\.0\.0\.1%\d+", "127.0.0.1%[PORT]");
        settings.add_filter(r"\b(crash|issue|feedback)-[a-z0-9]{16}\b", "$1-[ID]");
        settings.add_filter(r"/bugfender/[A-Za-z0-9_-]{27}", "/bugfender/[KEY]");
        settings.add_filter(r"/[^\s:'\x22]*/\.tmp[A-Za-z0-9]+", "[SCRATCH]");
        settings.add_filter(r"\(\d+ ms\)", "([N] ms)");
        // Of a plan, which names the port of the sandbox.
        settings.add_filter(r"its checksum is not [0-9a-f]{64}", "its checksum is not [CHECKSUM]");
        settings.add_filter(r"bugfender-hooks(/| )\d+\.\d+\.\d+", "bugfender-hooks$1[VERSION]");
        settings.bind(|| insta::assert_snapshot!($name, $text.to_string()));
    }};
}

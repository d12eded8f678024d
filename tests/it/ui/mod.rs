//! `ui`: the page in a real browser, beside receivers that really receive.

mod accessible;
mod bulk;
mod event;
mod hostile;
mod live;
mod paths;
mod plain;
mod quarantine;
mod restarts;
mod targets;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Child;

use serde_json::Value;

use crate::listen::Receiver;
use crate::support::browser::Browser;
use crate::support::postgres::server;
use crate::support::{Home, Signal, signal, wait_until};

/// The titles in the list.
const TITLES: &str = "#rows .title a";

/// A `ui` that serves, until it is dropped.
pub struct PageServer {
    pub child: Child,
    /// The address that signs in.
    pub url: String,
    /// The address without its token and the slash at its end.
    pub base: String,
    log: PathBuf,
}

impl Drop for PageServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl PageServer {
    pub fn start(home: &Home, args: &[&str]) -> Self {
        Self::start_at(home, "127.0.0.1:0", args)
    }

    /// The same at an address, such as that of one before.
    fn start_at(home: &Home, address: &str, args: &[&str]) -> Self {
        let (ready_file, log) = (home.path().join("page.json"), home.path().join("page.log"));
        let _ = fs::remove_file(&ready_file);
        let fixed = ["ui", "--listen", address, "--ready-file", "page.json"];
        let mut command = home.command(fixed.iter().chain(args));
        let mut child = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
        let mut ready = Value::Null;
        wait_until("the page is served", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {ended:?}: {}", fs::read_to_string(&log).unwrap());
            ready = fs::read(&ready_file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
            !ready.is_null()
        });
        let url = ready["url"].as_str().unwrap().to_owned();
        let base = url.split("/?").next().unwrap().trim_end_matches('/').to_owned();
        Self { child, url, base, log }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        self.base.trim_start_matches("http://").split('/').next().unwrap()
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Asks it to end, and waits.
    fn end(mut self) {
        signal(&self.child, Signal::TERM);
        wait_until("the page ends", || self.child.try_wait().unwrap().is_some());
    }

    /// A browser that is signed in and at the list.
    fn browser(&self) -> Option<Browser> {
        let browser = Browser::start()?;
        browser.open(&self.url);
        browser.wait_for(".events");
        Some(browser)
    }

    /// Opens a page of it, by a path with a slash.
    fn open(&self, browser: &Browser, path: &str) {
        browser.open(&format!("{}{path}", self.base));
    }
}

/// The same on each store.
pub fn on_each_store(test: impl Fn(&Home)) {
    test(&Home::new());
    if let Some(server) = server() {
        test(&Home::new().set("BUGFENDER_HOOKS_STORE", &server.url(&server.new_database())));
    }
}

/// Delivers an event with this title, which is also its id.
fn deliver(receiver: &Receiver, event_type: &str, title: &str) {
    let event = serde_json::json!([{ "id": title, "type": event_type, "title": title, "app": { "id": 7 } }]);
    accepted(receiver, &event);
}

/// Delivers these events, which must all be new.
fn accepted(receiver: &Receiver, events: &Value) {
    let reply = receiver.post(events.to_string());
    let stored = (reply.status, reply.json()["stored"].as_u64());
    assert_eq!(stored, (200, Some(events.as_array().unwrap().len() as u64)), "{reply:?}");
}

/// Delivers so many crashes, so many at a time.
fn deliver_many(receiver: &Receiver, count: usize, at_a_time: usize) {
    let numbers: Vec<usize> = (0..count).collect();
    for batch in numbers.chunks(at_a_time) {
        let event = |number: &usize| {
            serde_json::json!({ "id": format!("many-{number}"), "type": "crash", "title": format!("Crash {number}"),
                "app": { "id": 7 }, "device": { "name": "pixel" } })
        };
        accepted(receiver, &batch.iter().map(event).collect());
    }
}

/// Waits until the list has these titles, in this order.
fn wait_for_titles(browser: &Browser, titles: &[&str]) {
    wait_until(&format!("the list is {titles:?}"), || browser.texts(TITLES) == titles);
}

/// Waits until the list is told of events by a stream.
fn wait_until_live(browser: &Browser) {
    browser.wait_until("document.querySelector('#live').textContent === 'Live'");
}

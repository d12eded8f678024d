//! `ui` without a browser: who may look, what may be changed, and what strangers, other sites and sick clients get.

mod absurd;
mod changes;
pub mod client;
mod headers;
mod limits;
mod origins;
mod proxy;
mod replay;
mod secrets;
mod sign_in;

use serde_json::json;

use self::client::{PageAnswer, ask};
use crate::listen::Receiver;
use crate::support::Home;
use crate::ui::PageServer;

/// Every kind of page, assets and streams apart; there is an event 1.
const PAGES: [&str; 13] = [
    "/",
    "/?q=boom",
    "/overview",
    "/targets",
    "/quarantine",
    "/quarantine/1",
    "/hooks",
    "/hooks/7",
    "/events/1",
    "/events/1/raw",
    "/events/new?after=0",
    "/events/states?from=1&to=9",
    "/jobs/1",
];

/// Every change, with a form.
const CHANGES: [(&str, &str); 12] = [
    ("/events/1/retry", "target="),
    ("/events/1/replay", "url=http://127.0.0.1:9/x"),
    ("/events/1/delete", ""),
    ("/targets/1/pause", ""),
    ("/targets/1/resume", ""),
    ("/targets/1/drop", ""),
    ("/targets/1/test", ""),
    ("/quarantine/1/reread", ""),
    ("/quarantine/reread", ""),
    ("/jobs", "action=delete"),
    ("/jobs/1/cancel", ""),
    ("/jobs?type=crash", "action=retry"),
];

/// What a browser says with a form of the page itself.
const OWN: &str = "sec-fetch-site: same-origin";
const FORM: &str = "content-type: application/x-www-form-urlencoded";

impl PageServer {
    /// The answer to a GET.
    fn ask(&self, path: &str, headers: &[&str]) -> PageAnswer {
        ask(self.address(), &format!("GET {path}"), headers, "")
    }

    /// The answer to a form.
    fn post(&self, path: &str, headers: &[&str], form: &str) -> PageAnswer {
        ask(self.address(), &format!("POST {path}"), &[&[FORM], headers].concat(), form)
    }

    /// The header with the cookie that the token is exchanged for, wherever the page is.
    fn sign_in(&self) -> String {
        let path = self.url.strip_prefix("http://").unwrap().split_once('/').unwrap().1;
        self.ask(&format!("/{path}"), &[]).cookie().unwrap()
    }

    fn token(&self) -> &str {
        self.url.split_once("?token=").unwrap().1
    }
}

/// Receives an event with this title, which waits for a target that is not there.
fn received(home: &Home, title: &str) -> Receiver {
    let receiver = Receiver::start(home, &["--forward-to", "http://127.0.0.1:9/secret-path?key=secret-query"]);
    let event = json!([{ "id": "one", "type": "crash", "title": title, "app": { "id": 7 } }]);
    assert_eq!(receiver.post(event.to_string()).status, 200);
    assert_eq!(receiver.post("{\"n\":").status, 400);
    receiver
}

//! A Bugfender of the tests' own, made after the contract and not after the sandbox, which fails now and then in every way
//! that a server can.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use axum::routing::{delete, post};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::served::ServedRouter;

/// What a hook is for: app, event and target.
pub type HookFor = (i64, String, String);

/// How often it fails, of a hundred requests.
#[derive(Clone, Copy, Default)]
pub struct Trouble {
    /// 503 before it acts.
    pub unavailable: u32,
    /// 429 before it acts.
    pub too_fast: u32,
    /// 500 before it acts, as far as a client can tell perhaps after.
    pub broken: u32,
    /// It acts, and breaks the answer off.
    pub cut_short: u32,
    /// 400 before it acts.
    pub refused: u32,
    /// The most requests at once; more are answered with 429.
    pub most_at_once: Option<usize>,
    /// How long an answer takes at least.
    pub latency: std::time::Duration,
}

#[derive(Default)]
struct Account {
    hooks: BTreeMap<i64, HookFor>,
    last: i64,
    trouble: Trouble,
    seed: u64,
    in_flight: usize,
    requests: usize,
    /// The events of apps that had hooks, and had none for a moment.
    gaps: Vec<(i64, String)>,
    /// The most requests that may be answered.
    answered: watch::Sender<usize>,
}

enum Fault {
    Status(u16),
    CutShort,
}

impl Account {
    fn fault(&mut self) -> Option<Fault> {
        // The same faults in every run: xorshift.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let Trouble { unavailable, too_fast, broken, cut_short, refused, .. } = self.trouble;
        let mut drawn = u32::try_from(self.seed % 100).unwrap();
        for (share, fault) in [
            (unavailable, Fault::Status(503)),
            (too_fast, Fault::Status(429)),
            (broken, Fault::Status(500)),
            (refused, Fault::Status(400)),
            (cut_short, Fault::CutShort),
        ] {
            if drawn < share {
                return Some(fault);
            }
            drawn -= share;
        }
        None
    }
}

impl Account {
    /// Removes a hook, if it is there.
    fn remove(&mut self, id: i64) -> bool {
        let Some((app, event, _)) = self.hooks.remove(&id) else { return false };
        if !self.hooks.values().any(|hook| (hook.0, &hook.1) == (app, &event)) {
            self.gaps.push((app, event));
        }
        true
    }
}

type Shared = Arc<Mutex<Account>>;

/// The server. It ends when it is dropped.
pub struct Bugfender {
    pub url: String,
    account: Shared,
    _server: ServedRouter,
}

impl Bugfender {
    pub fn start(trouble: Trouble) -> Self {
        let account = Account { trouble, seed: 0x9e37_79b9_7f4a_7c15, ..Account::default() };
        account.answered.send_replace(usize::MAX);
        let account = Arc::new(Mutex::new(account));
        let router = Router::new()
            .route("/api/hook/subscribe", post(subscribe))
            .route("/api/hook/{id}/", delete(unsubscribe))
            .with_state(Arc::clone(&account));
        let server = ServedRouter::start(router);
        Self { url: server.url.clone(), account, _server: server }
    }

    fn account(&self) -> std::sync::MutexGuard<'_, Account> {
        self.account.lock().unwrap()
    }

    pub fn set(&self, trouble: Trouble) {
        self.account().trouble = trouble;
    }

    /// Carries out what comes after this many requests more, and does not answer it until [`Bugfender::go_on`].
    pub fn hold_after(&self, more: usize) {
        let account = self.account();
        account.answered.send_replace(account.requests + more);
    }

    /// Whether a request was carried out, and its answer is held back.
    pub fn is_holding(&self) -> bool {
        self.account().answered.receiver_count() > 0
    }

    pub fn go_on(&self) {
        self.account().answered.send_replace(usize::MAX);
    }

    /// Deletes a hook, as somebody does in the dashboard.
    pub fn delete(&self, hook: i64) {
        self.account().hooks.remove(&hook).unwrap();
    }

    /// The hooks that there are, by their numbers.
    pub fn hooks(&self) -> BTreeMap<i64, HookFor> {
        self.account().hooks.clone()
    }

    pub fn requests(&self) -> usize {
        self.account().requests
    }

    /// The events of apps that had hooks, and had none for a moment.
    pub fn gaps(&self) -> Vec<(i64, String)> {
        self.account().gaps.clone()
    }
}

fn plain(status: u16, body: &Value) -> Response<Body> {
    let builder = Response::builder().status(StatusCode::from_u16(status).unwrap());
    let builder = if status == 429 || status == 503 { builder.header("retry-after", "0") } else { builder };
    builder.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap()
}

/// An answer that breaks off.
fn cut_short(status: u16) -> Response<Body> {
    let pieces: Vec<Result<Bytes, std::io::Error>> =
        vec![Ok(Bytes::from_static(b"{\"i")), Err(std::io::ErrorKind::ConnectionReset.into())];
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header("content-length", "40")
        .body(Body::from_stream(stream::iter(pieces)))
        .unwrap()
}

/// Counts a request in, and decides how it fails. The guard counts it out.
async fn enter(shared: &Shared) -> (Option<Fault>, Leave) {
    let (fault, latency, number) = {
        let mut account = shared.lock().unwrap();
        account.requests += 1;
        account.in_flight += 1;
        let crowded = account.trouble.most_at_once.is_some_and(|most| account.in_flight > most);
        (if crowded { Some(Fault::Status(429)) } else { account.fault() }, account.trouble.latency, account.requests)
    };
    let leave = Leave { shared: Arc::clone(shared), number };
    tokio::time::sleep(latency).await;
    (fault, leave)
}

struct Leave {
    shared: Shared,
    number: usize,
}

impl Leave {
    /// Waits until this request may be answered.
    async fn wait(&self) {
        let mut answered = self.shared.lock().unwrap().answered.subscribe();
        answered.wait_for(|answered| *answered >= self.number).await.unwrap();
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.shared.lock().unwrap().in_flight -= 1;
    }
}

async fn subscribe(State(shared): State<Shared>, body: Bytes) -> Response<Body> {
    let (fault, leave) = enter(&shared).await;
    if let Some(Fault::Status(status)) = fault {
        return plain(status, &json!({"code": status, "message": "no"}));
    }
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let text = |key: &str| asked[key].as_str().unwrap().to_owned();
    let id = {
        let mut account = shared.lock().unwrap();
        account.last += 1;
        let id = account.last;
        account.hooks.insert(id, (asked["app_id"].as_i64().unwrap(), text("event"), text("target_url")));
        id
    };
    leave.wait().await;
    if fault.is_some() {
        return cut_short(201);
    }
    let app = asked["app_id"].to_string();
    plain(201, &json!({"id": id, "event": asked["event"], "target_url": asked["target_url"], "app_id": app}))
}

async fn unsubscribe(State(shared): State<Shared>, Path(id): Path<i64>) -> Response<Body> {
    let (fault, leave) = enter(&shared).await;
    if let Some(Fault::Status(status)) = fault {
        return plain(status, &json!({"code": status, "message": "no"}));
    }
    let removed = shared.lock().unwrap().remove(id);
    leave.wait().await;
    match fault {
        _ if !removed => plain(404, &json!({"code": 404, "message": "not found"})),
        Some(_) => cut_short(200),
        None => plain(200, &json!({})),
    }
}

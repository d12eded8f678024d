//! A Bugfender of the tests' own that has events: it lists them, sums them up and delivers them, as the contract says, and
//! fails on demand. Not made after the sandbox.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Response};
use axum::routing::{delete, get, post};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::served::ServedRouter;
use crate::listen::client::{call, request};

/// What the next request for issues gets in place of its answer.
#[derive(Debug, Clone)]
pub enum IssueFault {
    /// This status, and what `Retry-After` says.
    Status(u16, Option<&'static str>),
    /// The answer breaks off.
    Cut,
}

/// How issues are listed.
#[derive(Debug, Clone)]
pub struct Listing {
    pub newest_first: bool,
    /// Whether their ids are others than those delivered.
    pub foreign_ids: bool,
    /// Each request that is not answered with issues at all.
    pub status: u16,
    /// What groups are answered with.
    pub groups_status: u16,
    pub out_of_retention: Value,
    pub latency: Duration,
    /// New events come between two pages.
    pub grows: bool,
}

impl Default for Listing {
    fn default() -> Self {
        let latency = Duration::ZERO;
        Self {
            newest_first: true,
            foreign_ids: false,
            status: 200,
            groups_status: 200,
            out_of_retention: json!(false),
            latency,
            grows: false,
        }
    }
}

#[derive(Debug, Clone)]
struct ApiHook {
    app: i64,
    event: String,
    target: String,
    is_active: bool,
}

#[derive(Default)]
struct World {
    hooks: BTreeMap<i64, ApiHook>,
    /// By app, in the order in which they were made.
    events: BTreeMap<i64, Vec<Value>>,
    made: usize,
    listing: Listing,
    faults: VecDeque<IssueFault>,
    /// When issues were asked for, and how.
    asked: Vec<(Instant, String)>,
    groups_asked: usize,
}

type Shared = Arc<Mutex<World>>;

/// The server. It ends when it is dropped.
pub struct IssueApi {
    pub url: String,
    world: Shared,
    _server: ServedRouter,
}

impl IssueApi {
    pub fn start() -> Self {
        let world = Shared::default();
        let router = Router::new()
            .route("/api/hook/subscribe", post(subscribe))
            .route("/api/hook/{id}/", delete(unsubscribe))
            .route("/api/app/{id}/issues", get(issues))
            .route("/api/app/{id}/issues-aggregation/summary", get(summary))
            .with_state(Arc::clone(&world));
        let server = ServedRouter::start(router);
        Self { url: server.url.clone(), world, _server: server }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn set(&self, listing: Listing) {
        self.world().listing = listing;
    }

    pub fn fail_next(&self, faults: impl IntoIterator<Item = IssueFault>) {
        self.world().faults.extend(faults);
    }

    /// When issues were asked for since this was last called, and how.
    pub fn asked(&self) -> Vec<(Instant, String)> {
        std::mem::take(&mut self.world().asked)
    }

    pub fn groups_asked(&self) -> usize {
        self.world().groups_asked
    }

    /// How many hooks there are that deliver.
    pub fn active_hooks(&self) -> usize {
        self.world().hooks.values().filter(|hook| hook.is_active).count()
    }

    pub fn deactivate_all(&self) {
        self.world().hooks.values_mut().for_each(|hook| hook.is_active = false);
    }

    /// Makes events of an app, and calls its hooks once for each. Returns the ids.
    pub fn emit(&self, app: i64, event_type: &str, count: usize) -> Vec<String> {
        self.emit_at(app, event_type, count, Timestamp::now())
    }

    pub fn emit_at(&self, app: i64, event_type: &str, count: usize, at: Timestamp) -> Vec<String> {
        let (events, targets) = {
            let mut world = self.world();
            let events: Vec<Value> = (0..count).map(|_| make(&mut world, app, event_type, at)).collect();
            let hooks = world.hooks.values();
            let is_for = |hook: &&ApiHook| {
                hook.is_active
                    && hook.app == app
                    && hook.event.contains(if event_type == "issue" { "issue" } else { event_type })
            };
            (events, hooks.filter(is_for).map(|hook| hook.target.clone()).collect::<Vec<_>>())
        };
        for target in targets {
            deliver(&target, &events);
        }
        events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The ids of the events of an app that were made before this time, in microseconds.
    pub fn made_before(&self, app: i64, time: i64) -> Vec<String> {
        let world = self.world();
        let events = world.events.get(&app).into_iter().flatten();
        let is_before = |event: &&Value| {
            event["created_at"].as_str().unwrap().parse::<Timestamp>().unwrap().as_microsecond() < time
        };
        events.filter(is_before).map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Lists an event of the test's own, which is not delivered.
    pub fn list(&self, app: i64, event: Value) {
        self.world().events.entry(app).or_default().push(event);
    }
}

fn make(world: &mut World, app: i64, event_type: &str, at: Timestamp) -> Value {
    world.made += 1;
    let event = json!({
        "id": format!("{event_type}-{:06}", world.made), "title": "Boom", "text": "it **broke**", "type": event_type,
        "app": {"id": app, "name": "Shop", "created_at": "2024-01-15T09:30:00Z"}, "status": "open",
        "session": {}, "device": {"name": "Pixel"}, "created_at": at.to_string(), "self": "https://x.example/1",
    });
    world.events.entry(app).or_default().push(event.clone());
    event
}

/// Calls an endpoint once, whatever it answers.
fn deliver(target: &str, events: &[Value]) {
    let url: url::Url = target.parse().unwrap();
    let address = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let body = Value::from(events).to_string();
    let _ =
        call(&address, &request(&format!("POST {}", url.path()), &["content-type: application/json"], body.as_bytes()));
}

fn plain(status: u16, headers: &[(&str, &str)], body: &Value) -> Response<Body> {
    let builder = Response::builder().status(status).header("content-type", "application/json");
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(Body::from(body.to_string())).unwrap()
}

fn unauthorized(headers: &HeaderMap) -> Option<Response<Body>> {
    let is_signed_in = headers.get("authorization").is_some_and(|value| value == "Bearer t");
    (!is_signed_in).then(|| plain(401, &[], &json!({"code": 401, "message": "no credentials supplied"})))
}

async fn subscribe(State(world): State<Shared>, body: Bytes) -> Response<Body> {
    let wanted: Value = serde_json::from_slice(&body).unwrap();
    let mut world = world.lock().unwrap();
    let id = world.hooks.keys().last().copied().unwrap_or(4710) + 1;
    let text = |key: &str| wanted[key].as_str().unwrap().to_owned();
    let hook = ApiHook {
        app: wanted["app_id"].as_i64().unwrap(),
        event: text("event"),
        target: text("target_url"),
        is_active: true,
    };
    world.hooks.insert(id, hook);
    plain(
        201,
        &[],
        &json!({"id": id, "event": wanted["event"], "target_url": wanted["target_url"], "app_id": wanted["app_id"]}),
    )
}

async fn unsubscribe(State(world): State<Shared>, Path(id): Path<i64>) -> Response<Body> {
    let removed = world.lock().unwrap().hooks.remove(&id);
    plain(if removed.is_some() { 200 } else { 404 }, &[], &json!({}))
}

fn fault(world: &Shared) -> Option<Response<Body>> {
    match world.lock().unwrap().faults.pop_front()? {
        IssueFault::Status(status, after) => {
            let headers: Vec<_> = after.map(|after| ("retry-after", after)).into_iter().collect();
            Some(plain(status, &headers, &json!({"code": status, "message": "not now"})))
        }
        IssueFault::Cut => {
            let pieces = [Ok(Bytes::from_static(b"{\"issues\": [{\"id\"")), Err(std::io::Error::other("cut"))];
            let body = Body::from_stream(futures_util::stream::iter(pieces));
            Some(Response::builder().header("content-type", "application/json").body(body).unwrap())
        }
    }
}

async fn issues(
    State(world): State<Shared>,
    Path(app): Path<i64>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response<Body> {
    let latency = world.lock().unwrap().listing.latency;
    tokio::time::sleep(latency).await;
    let asked = query.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    world.lock().unwrap().asked.push((Instant::now(), asked));
    if let Some(answer) = unauthorized(&headers).or_else(|| fault(&world)) {
        return answer;
    }
    let mut world = world.lock().unwrap();
    let listing = world.listing.clone();
    if listing.status != 200 {
        return plain(listing.status, &[], &json!({"code": listing.status, "message": "not for you"}));
    }
    if listing.grows {
        make(&mut world, app, "crash", Timestamp::now());
    }
    let number = |name: &str| query[name].parse::<usize>().unwrap();
    assert_eq!(query["version"], "-1");
    let since: Timestamp = query["date_range_start"].parse().unwrap();
    let status = match number("issue_status") {
        1 => "open",
        4 => "closed",
        other => panic!("issue_status {other}"),
    };
    let is_listed = |event: &&Value| {
        let at = event["created_at"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        at.is_none_or(|at| at >= since) && event["status"].as_str().unwrap_or("open") == status
    };
    let mut found: Vec<&Value> = world.events.get(&app).into_iter().flatten().filter(is_listed).collect();
    if listing.newest_first {
        found.reverse();
    }
    let (size, page) = (number("page_size"), number("page"));
    let rows = found.iter().skip((page - 1) * size).take(size).map(|event| {
        let mut row = (*event).clone();
        if listing.foreign_ids {
            row["id"] = format!("row-of-{}", row["id"].as_str().unwrap()).into();
        }
        row
    });
    let rows: Vec<Value> = rows.collect();
    plain(
        200,
        &[],
        &json!({"issues": rows, "total_pages": found.len().div_ceil(size), "item_count": found.len(), "page_index": page}),
    )
}

async fn summary(
    State(world): State<Shared>,
    Path(app): Path<i64>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response<Body> {
    if let Some(answer) = unauthorized(&headers) {
        return answer;
    }
    let mut world = world.lock().unwrap();
    world.groups_asked += 1;
    let listing = world.listing.clone();
    if listing.groups_status != 200 {
        return plain(listing.groups_status, &[], &json!({"code": listing.groups_status, "message": "not for you"}));
    }
    let size: usize = query["page_size"].parse().unwrap();
    assert!(size <= 200, "page_size {size}");
    let event_type = ["issue", "crash", "feedback"][query["issue_type"].parse::<usize>().unwrap()];
    let time = |name: &str| query[name].parse::<Timestamp>().unwrap();
    let is_in = |event: &&Value| {
        let at: Option<Timestamp> = event["created_at"].as_str().and_then(|text| text.parse().ok());
        event["type"] == event_type
            && at.is_some_and(|at| (time("date_range_start")..=time("date_range_end")).contains(&at))
    };
    let groups = usize::from(world.events.get(&app).into_iter().flatten().any(|event| is_in(&event)));
    let data: Vec<Value> = (0..groups).map(|_| json!({"hash": "abc", "title": "Boom"})).collect();
    let pagination = json!({"current_page": 1, "page_size": size, "total_items": groups, "total_pages": groups,
                            "has_next_page": false, "has_prev_page": false});
    plain(
        200,
        &[],
        &json!({"data": data, "out_of_retention_period": listing.out_of_retention, "pagination": pagination}),
    )
}

//! A Bugfender of the tests' own that lists issues, made after the contract and not after the sandbox.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Exchange, answer, read};
use crate::listen::client::{call, request};

/// How many rows it has on a page at most.
const LARGEST_PAGE: usize = 500;

/// An issue, crash or feedback.
#[derive(Clone)]
pub struct Issue {
    pub app: i64,
    /// 1 = open, 4 = closed.
    pub status: i64,
    pub created_at: Timestamp,
    /// As it is delivered, and as it is listed.
    pub event: Value,
    pub row: Value,
}

/// What a request is answered with instead.
pub enum Reply {
    Status(&'static str, Vec<&'static str>),
    /// The connection breaks in the middle of the answer.
    Cut,
    /// This object.
    Object(Value),
}

/// What is asked of the server, and how many such requests came before, of whatever list.
pub struct Ask<'a> {
    pub line: &'a str,
    pub authorization: &'a str,
    pub before: usize,
}

impl Ask<'_> {
    pub fn is_for_issues(&self) -> bool {
        self.line.contains("/issues?")
    }
}

type Script = Box<dyn FnMut(&Ask<'_>, &mut Account) -> Option<Reply> + Send>;

/// What the server knows, and how it answers.
#[derive(Default)]
pub struct Account {
    pub issues: Vec<Issue>,
    /// By their numbers: app, event and target.
    pub hooks: BTreeMap<i64, (i64, String, String)>,
    pub newest_first: bool,
    pub hides_totals: bool,
    pub out_of_retention: Value,
    pub latency: Duration,
    /// Where deliveries to `https://hooks.example.com` go; nowhere when it is `None`.
    pub routed_to: Option<String>,
    made: u64,
    script: Option<Script>,
    requests: Vec<(Instant, String)>,
}

pub struct IssueServer {
    pub url: String,
    account: Arc<Mutex<Account>>,
}

impl IssueServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let account = Arc::<Mutex<Account>>::default();
        let shared = Arc::clone(&account);
        // Ends with the test's process: it holds nothing that needs an orderly end.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let Some(mut exchange) = read(stream) else { return };
                    let response = respond(&shared, &exchange);
                    exchange.send(response);
                });
            }
        });
        Self { url, account }
    }

    pub fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap()
    }

    /// Answers as this says, which is asked first.
    pub fn script(&self, script: impl FnMut(&Ask<'_>, &mut Account) -> Option<Reply> + Send + 'static) {
        self.account().script = Some(Box::new(script));
    }

    pub fn unscript(&self) {
        self.account().script = None;
    }

    /// Method and path of the requests that hold this, and when they came.
    pub fn requests(&self, part: &str) -> Vec<(Instant, String)> {
        self.account().requests.iter().filter(|(_, line)| line.contains(part)).cloned().collect()
    }

    /// Makes issues of a type right now, and delivers them to the hooks that are there for them. Their ids.
    pub fn emit(&self, app: i64, kind: &str, count: usize) -> Vec<String> {
        // Listed once they were delivered: what is listed first may be fetched before its webhook comes.
        let made = self.account().make(app, kind, count, Timestamp::now());
        let event = match kind {
            "crash" => "new_crash",
            "issue" => "new_issue_separate",
            _ => "new_user_feedback",
        };
        let (targets, route): (Vec<String>, _) = {
            let account = self.account();
            let of_event = account.hooks.values().filter(|hook| (hook.0, hook.1.as_str()) == (app, event));
            (of_event.map(|hook| hook.2.clone()).collect(), account.routed_to.clone())
        };
        for target in targets {
            for events in made.chunks(50) {
                let events: Vec<&Value> = events.iter().map(|issue| &issue.event).collect();
                deliver(&target, route.as_deref(), &json!(events));
            }
        }
        self.account().issues.extend(made.clone());
        made.iter().map(|issue| issue.event["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Makes issues that are listed and not delivered, a millisecond apart, the last at this time.
    pub fn make(&self, app: i64, kind: &str, count: usize, at: Timestamp) -> Vec<Issue> {
        let mut account = self.account();
        let made = account.make(app, kind, count, at);
        account.issues.extend(made.clone());
        made
    }

    /// Changes how the issues are listed.
    pub fn list_as(&self, mut change: impl FnMut(&mut Issue)) {
        self.account().issues.iter_mut().for_each(&mut change);
    }

    /// Deactivates all hooks, as Bugfender does when their endpoint fails for long: nothing tells.
    pub fn deactivate(&self) {
        self.account().hooks.clear();
    }
}

/// Calls once, and forgets about it if that fails.
fn deliver(target: &str, route: Option<&str>, events: &Value) {
    // Elsewhere nothing is called.
    let Some(path) = target.strip_prefix("https://hooks.example.com") else { return };
    if let Some(host) = route {
        let body = events.to_string();
        let _ = call(host, &request(&format!("POST {path}"), &["content-type: application/json"], body.as_bytes()));
    }
}

fn object(status: &str, body: &Value) -> String {
    answer(status, &["content-type: application/json"], &body.to_string())
}

fn respond(shared: &Mutex<Account>, exchange: &Exchange) -> String {
    let line = exchange.line.as_str();
    let (response, latency) = {
        let account = &mut *shared.lock().unwrap();
        let what = if line.contains("/issues?") { "/issues?" } else { "/issues-aggregation/" };
        let before = account.requests.iter().filter(|(_, line)| line.contains(what)).count();
        account.requests.push((Instant::now(), line.to_owned()));
        let ask = Ask { line, authorization: exchange.header("authorization").unwrap_or_default(), before };
        let mut script = account.script.take();
        let reply = script.as_mut().and_then(|script| script(&ask, account));
        account.script = account.script.take().or(script);
        let response = match reply {
            Some(Reply::Status(status, headers)) => {
                let code: u16 = status.split(' ').next().unwrap().parse().unwrap();
                answer(status, &headers, &json!({"code": code, "message": "so it is"}).to_string())
            }
            Some(Reply::Cut) => {
                let whole = account.respond(line, &exchange.body);
                whole[..whole.len() - whole.len().min(40)].to_owned()
            }
            Some(Reply::Object(body)) => object("200 OK", &body),
            None => account.respond(line, &exchange.body),
        };
        (response, account.latency)
    };
    std::thread::sleep(latency);
    response
}

impl Account {
    /// Makes issues that are not listed yet.
    fn make(&mut self, app: i64, kind: &str, count: usize, at: Timestamp) -> Vec<Issue> {
        let mut made = Vec::new();
        for number in (0..count).rev() {
            self.made += 1;
            let id = format!("{kind}-{}", self.made);
            let created_at = at - SignedDuration::from_millis(i64::try_from(number).unwrap());
            let event = json!({
                "id": id, "uid": id, "title": format!("Title of {id}"), "text": "# What happened",
                "app": {"id": app, "name": "An app", "created_at": "2020-01-01T00:00:00Z"},
                "type": kind, "status": "open",
                "session": {"app_version": {"version": "1.0", "build": "7"}, "os_version": "15", "language": "en"},
                "device": {"udid": "d-1", "name": "Phone", "language": "en", "user_data": {}},
                "created_at": created_at.to_string(), "self": format!("https://dashboard.example.com/i/{id}"),
            });
            made.push(Issue { app, status: 1, created_at, row: event.clone(), event });
        }
        made
    }

    fn respond(&mut self, line: &str, body: &str) -> String {
        let (method, rest) = line.split_once(' ').unwrap();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let query: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (method, parts.as_slice()) {
            ("POST", ["api", "hook", "subscribe"]) => self.subscribe(&serde_json::from_str(body).unwrap()),
            ("DELETE", ["api", "hook", id]) => match self.hooks.remove(&id.parse().unwrap()) {
                Some(_) => object("200 OK", &json!({})),
                None => object("404 Not Found", &json!({"code": 404, "message": "not found"})),
            },
            ("GET", ["api", "app", app, "issues"]) => object("200 OK", &self.page(app.parse().unwrap(), &query)),
            ("GET", ["api", "app", app, "issues-aggregation", "summary"]) => {
                object("200 OK", &self.summary(app.parse().unwrap(), &query))
            }
            _ => object("404 Not Found", &json!({"code": 404, "message": "there is no such thing"})),
        }
    }

    fn subscribe(&mut self, asked: &Value) -> String {
        self.made += 1;
        let (id, text) = (i64::try_from(self.made).unwrap(), |key: &str| asked[key].as_str().unwrap().to_owned());
        let app = asked["app_id"].as_i64().unwrap();
        self.hooks.insert(id, (app, text("event"), text("target_url")));
        let made = json!({"id": id, "event": asked["event"], "target_url": asked["target_url"], "app_id": app});
        object("201 Created", &made)
    }

    fn page(&self, app: i64, query: &BTreeMap<&str, &str>) -> Value {
        let (since, status) = (time(query["date_range_start"]), query["issue_status"].parse::<i64>().unwrap());
        let (size, page): (usize, usize) = (query["page_size"].parse().unwrap(), query["page"].parse().unwrap());
        let size = size.clamp(1, LARGEST_PAGE);
        let listed = |issue: &&Issue| issue.app == app && issue.status == status && issue.created_at >= since;
        let mut issues: Vec<&Issue> = self.issues.iter().filter(listed).collect();
        issues.sort_by_key(|issue| issue.created_at);
        if self.newest_first {
            issues.reverse();
        }
        let rows: Vec<&Value> = issues.iter().skip((page - 1) * size).take(size).map(|issue| &issue.row).collect();
        if self.hides_totals {
            return json!({"issues": rows});
        }
        let (count, pages) = (issues.len(), issues.len().div_ceil(size));
        json!({"issues": rows, "total_pages": pages, "item_count": count, "page_index": page})
    }

    /// A group for each issue.
    fn summary(&self, app: i64, query: &BTreeMap<&str, &str>) -> Value {
        let (start, end) = (time(query["date_range_start"]), time(query["date_range_end"]));
        let kind = ["issue", "crash", "feedback"][query["issue_type"].parse::<usize>().unwrap()];
        let is_in = |issue: &&Issue| {
            issue.app == app && issue.event["type"] == kind && (start..=end).contains(&issue.created_at)
        };
        let groups = self.issues.iter().filter(is_in).count();
        let data: Vec<Value> = (0..groups.min(200)).map(|number| json!({"hash": format!("h{number}")})).collect();
        let pagination = json!({
            "current_page": 1, "page_size": 200, "total_items": groups, "total_pages": groups.div_ceil(200),
            "has_next_page": groups > 200, "has_prev_page": false,
        });
        json!({"data": data, "out_of_retention_period": self.out_of_retention, "pagination": pagination})
    }
}

fn time(text: &str) -> Timestamp {
    text.replace("%3A", ":").replace("%2B", "+").parse().unwrap()
}

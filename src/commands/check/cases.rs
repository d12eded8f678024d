//! The cases of the conformance test: the requests of each, and the expected response.

use serde_json::Value;
use url::Url;

use crate::commands::calls::{Endpoint, to_bytes};
use crate::domain::EventKind;
use crate::domain::signature::sign_instabug;
use crate::error::Result;
use crate::http::Request;
use crate::samples::bugfender::{self, EventShape};
use crate::samples::instabug::{self, ReportKind};

/// What the titles begin with, by which people tell these events from real ones.
const MARK: &str = "[check]";

/// How many requests are sent concurrently.
const AT_ONCE: usize = 8;

/// The shortest last segment of a path that may be a key, in characters.
const SHORTEST_KEY: usize = 16;

/// The response that a case expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// 2xx.
    Taken,
    /// 4xx.
    Refused,
}

/// What to do for a case.
pub enum CasePlan {
    /// Send these requests concurrently.
    Send(Vec<Request>),
    /// Skip the case, for this reason.
    Skip(&'static str),
}

/// One thing that a receiver should get right.
pub struct Case {
    pub name: &'static str,
    pub expected: Expected,
    /// What to do about a receiver that gets it wrong.
    pub advice: &'static str,
    pub plan: CasePlan,
}

impl Case {
    fn taken(name: &'static str, advice: &'static str, requests: Vec<Request>) -> Self {
        Self { name, expected: Expected::Taken, advice, plan: CasePlan::Send(requests) }
    }

    fn refused(name: &'static str, advice: &'static str, plan: CasePlan) -> Self {
        Self { name, expected: Expected::Refused, advice, plan }
    }
}

const UNKNOWN_FIELDS: &str = "ignore unknown fields; new ones may be added at any time";
const DUPLICATE: &str = "accept the same event again without an error; its id identifies it";
const LARGE_BODY: &str = "allow bodies of 1 MB and more, also in proxies in front of the receiver";
const CONCURRENT: &str = "accept concurrent requests";
const MALFORMED: &str = "answer 400 to a body that is not JSON, and do not treat it as an event";

/// What Bugfender may send.
pub fn of_bugfender(endpoint: &Endpoint, app_id: i64, origin: &str) -> Result<Vec<Case>> {
    const EVENT: &str = "answer 2xx to every event; Bugfender does not retry a failed request";
    const OLDER: &str = "accept the older shape too, which has a numeric id and no type; Bugfender documents both";
    const BATCH: &str = "accept every event of the list; Bugfender sends one or more per request";
    const WRONG_PATH: &str = "answer 404 unless the path ends with the right key; nothing else keeps others out";
    let event =
        |name: &str, shape, kind| bugfender::with_title(bugfender::event(shape, kind, app_id, origin), &title(name));
    let current = |name: &str, kind| event(name, EventShape::Current, kind);
    let crash = |name: &str| current(name, EventKind::NewCrash);
    let call = |events: Vec<Value>| to_bytes(&Value::Array(events)).map(|bytes| endpoint.request(&bytes));

    let first = call(vec![crash("crash")])?;
    let unknown = bugfender::with_unknown_fields(crash("unknown_fields"));
    let large = bugfender::with_long_text(crash("large_body"));
    let twin = crash("duplicate_in_batch");
    let batch = EventKind::ALL.map(|kind| current("batch", kind)).to_vec();
    let at_once = (0..AT_ONCE).map(|_| call(vec![crash("concurrent")])).collect::<Result<_>>()?;
    let one = |event| Ok::<_, crate::error::Error>(vec![call(vec![event])?]);
    Ok(vec![
        Case::taken("crash", EVENT, vec![first.clone()]),
        Case::taken("issue", EVENT, one(current("issue", EventKind::NewIssueSeparate))?),
        Case::taken("feedback", EVENT, one(current("feedback", EventKind::NewUserFeedback))?),
        Case::taken("older_shape", OLDER, one(event("older_shape", EventShape::Older, EventKind::NewCrash))?),
        Case::taken("unknown_fields", UNKNOWN_FIELDS, one(unknown)?),
        Case::taken("batch", BATCH, vec![call(batch)?]),
        Case::taken("duplicate", DUPLICATE, vec![first]),
        Case::taken("duplicate_in_batch", DUPLICATE, vec![call(vec![twin.clone(), twin])?]),
        Case::taken("large_body", LARGE_BODY, one(large)?),
        Case::taken("concurrent", CONCURRENT, at_once),
        Case::refused(
            "malformed",
            MALFORMED,
            CasePlan::Send(vec![endpoint.request(&bugfender::malformed(&title("malformed")))]),
        ),
        Case::refused("wrong_path", WRONG_PATH, wrong_path(&endpoint.url, call(vec![crash("wrong_path")])?)),
    ])
}

/// What Luciq may send.
pub fn of_instabug(endpoint: &Endpoint) -> Result<Vec<Case>> {
    const SIGNED: &str = "answer 2xx to every report; a rejected request may have been signed with another secret";
    const UNSIGNED: &str = "answer 2xx to every report; if the receiver requires a signature, give --secret-file";
    const DUPLICATE: &str = "accept the same report again without an error; it is the same if every byte is";
    let advice = if endpoint.secret.is_some() { SIGNED } else { UNSIGNED };
    let report = |name: &str, kind| instabug::with_title(kind, instabug::report(kind), &title(name));
    let crash = |name: &str| report(name, ReportKind::Crash);
    let call = |report: &Value| to_bytes(report).map(|bytes| endpoint.request(&bytes));

    let first = call(&crash("crash"))?;
    let unknown = instabug::with_unknown_fields(crash("unknown_fields"));
    let large = instabug::with_long_text(crash("large_body"));
    let at_once = (0..AT_ONCE).map(|_| call(&crash("concurrent"))).collect::<Result<_>>()?;
    let mut cases = vec![
        Case::taken("crash", advice, vec![first.clone()]),
        Case::taken("bug", advice, vec![call(&report("bug", ReportKind::Bug))?]),
        Case::taken("apm", advice, vec![call(&report("apm", ReportKind::Apm))?]),
        Case::taken("unknown_fields", UNKNOWN_FIELDS, vec![call(&unknown)?]),
        Case::taken("duplicate", DUPLICATE, vec![first]),
        Case::taken("large_body", LARGE_BODY, vec![call(&large)?]),
        Case::taken("concurrent", CONCURRENT, at_once),
        Case::refused(
            "malformed",
            MALFORMED,
            CasePlan::Send(vec![endpoint.request(&instabug::malformed(&title("malformed")))]),
        ),
    ];
    cases.extend(signatures(endpoint, &to_bytes(&crash("bad_signature"))?, &to_bytes(&crash("missing_signature"))?));
    Ok(cases)
}

/// Requests that must be rejected.
fn signatures(endpoint: &Endpoint, bad: &[u8], missing: &[u8]) -> [Case; 2] {
    const ADVICE: &str = "answer 401 unless the signature, in x-lcq-signature-256 or x-ibg-signature-256, is the HMAC with SHA-256 of the raw body";
    let plan = |body: &[u8], signed: bool| match &endpoint.secret {
        // Made with the right secret, but over another body.
        Some(secret) => {
            let signature = signed.then(|| sign_instabug(secret, &[body, b" "].concat()));
            CasePlan::Send(vec![endpoint.request_with(body, signature)])
        }
        None => CasePlan::Skip("expected 4xx, skipped: there is no secret; give --secret-file"),
    };
    [
        Case::refused("bad_signature", ADVICE, plan(bad, true)),
        Case::refused("missing_signature", ADVICE, plan(missing, false)),
    ]
}

/// A request to a wrong path, if the URL ends with a segment long enough to be a key.
fn wrong_path(url: &Url, mut request: Request) -> CasePlan {
    let path = url.path().trim_end_matches('/');
    let slashes = &url.path()[path.len()..];
    match path.rsplit_once('/') {
        Some((before, key)) if key.chars().count() >= SHORTEST_KEY => {
            // All of it: in base64, one other character at the end may mean the same bytes.
            let other: String = std::iter::repeat_with(fastrand::alphanumeric).take(key.len()).collect();
            request.url.set_path(&format!("{before}/{other}{slashes}"));
            CasePlan::Send(vec![request])
        }
        _ => CasePlan::Skip("expected 4xx, skipped: the URL's path does not end with a key of 16 characters or more"),
    }
}

fn title(name: &str) -> String {
    format!("{MARK} {name}")
}

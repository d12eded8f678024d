//! One event: what it says, where it went, and what can be done with it.

use axum::Form;
use axum::body::Body;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use jiff::Timestamp;
use minijinja::value::Value;
use serde::{Deserialize, Serialize};

use super::access::Visitor;
use super::event_query::EventQuery;
use super::failure::WebFailure;
use super::markdown::rendered;
use super::notices::Notice;
use super::redirect::see_other;
use super::replay::allowed_url;
use super::row_view::EventLine;
use super::templates::content;
use super::{PageState, SharedPage};
use crate::domain::event::value;
use crate::domain::{ShownTime, pretty_json};
use crate::store::{
    AttemptRecord, EventPage, EventRecord, EventSelection, EventSeq, EventState, ForwardRecord, Inbox, StoreError,
};

/// The longest JSON that is shown whole, in characters; the rest is behind a link.
const MAX_JSON: usize = 300_000;

/// How many levels of JSON are indented further than the one before.
const MAX_INDENT: usize = 40;

/// What came of the last change, by its number.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Noted {
    note: Option<u64>,
}

/// All that is shown of an event.
struct Looked {
    event: EventRecord,
    forwards: Vec<ForwardRecord>,
    targets: Vec<String>,
    newer: Option<i64>,
    older: Option<i64>,
}

/// An attempt on the timeline.
#[derive(Serialize)]
struct AttemptLine {
    number: u32,
    at: ShownTime,
    ms: u128,
    status: Option<u16>,
    error: Option<String>,
    answer: Option<String>,
    next_at: Option<ShownTime>,
}

impl AttemptLine {
    fn of(attempt: AttemptRecord) -> Self {
        let answer = String::from_utf8_lossy(&attempt.report.answer).into_owned();
        Self {
            number: attempt.number,
            at: attempt.at.into(),
            ms: attempt.report.took.as_millis(),
            status: attempt.report.status,
            error: attempt.error,
            answer: Some(answer).filter(|answer| !answer.trim().is_empty()),
            next_at: attempt.next_at.map(ShownTime::from),
        }
    }
}

/// The way to a target.
#[derive(Serialize)]
struct ForwardLine {
    target: String,
    state: &'static str,
    attempts: u32,
    not_kept: u32,
    log: Vec<AttemptLine>,
    may_retry: bool,
}

impl ForwardLine {
    fn of(forward: ForwardRecord) -> Self {
        let log: Vec<_> = forward.newest_attempts.into_iter().map(AttemptLine::of).collect();
        let kept = u32::try_from(log.len()).unwrap_or(u32::MAX);
        Self {
            target: forward.target,
            state: forward.state.as_str(),
            attempts: forward.attempts,
            not_kept: forward.attempts.saturating_sub(kept),
            may_retry: matches!(forward.state, EventState::Dead | EventState::Pending),
            log,
        }
    }
}

/// Shows an event.
pub(super) async fn show(
    State(page): State<SharedPage>,
    Path(seq): Path<i64>,
    Query(query): Query<EventQuery>,
    Query(Noted { note }): Query<Noted>,
) -> Response<Body> {
    let notice = page.notices.take(note);
    answer(&page, seq, &query, StatusCode::OK, content! { notice }).await
}

async fn answer(page: &PageState, seq: i64, query: &EventQuery, status: StatusCode, more: Value) -> Response<Body> {
    match looked_at(page, EventSeq(seq), query).await {
        Ok(looked) => {
            let content = content(page, looked, query);
            page.templates.respond(page, status, "event.html", minijinja::context! { ..more, ..content })
        }
        Err(failure) => failure.response(page),
    }
}

async fn looked_at(page: &PageState, seq: EventSeq, query: &EventQuery) -> Result<Looked, WebFailure> {
    let among = query.selection(Timestamp::now()).unwrap_or_default();
    let read = move |inbox: &mut (dyn Inbox + 'static)| {
        let Some(event) = one(inbox, seq)? else { return Ok::<_, StoreError>(None) };
        let neighbour = |selection: EventSelection, newest_first: bool| {
            let page = EventPage { newest_first, limit: Some(1), scan_limit: Some(5000), ..EventPage::default() };
            let mut found = None;
            inbox.events(&selection, page, &mut |event| {
                found = Some(event.seq.0);
                true
            })?;
            Ok::<_, StoreError>(found)
        };
        let newer = EventSelection { after: Some(seq), up_to: Some(inbox.watermark()?), ..among.clone() };
        let older = EventSelection { before: Some(seq), ..among };
        Ok(Some(Looked {
            newer: neighbour(newer, false)?,
            older: neighbour(older, true)?,
            forwards: inbox.forwards_of(seq)?,
            targets: inbox.target_records()?.into_iter().map(|target| target.name).collect(),
            event,
        }))
    };
    let looked = page.readers.quick.run(read).await?;
    looked.ok_or_else(|| WebFailure::gone("event"))
}

/// Selects the event with this number.
fn only(seq: EventSeq) -> EventSelection {
    let before = EventSeq(seq.0.saturating_sub(1));
    EventSelection { after: Some(before), up_to: Some(seq), ..EventSelection::default() }
}

/// The event with this number, with its JSON.
pub(super) fn one(inbox: &dyn Inbox, seq: EventSeq) -> Result<Option<EventRecord>, StoreError> {
    let mut found = None;
    inbox.events(&only(seq), EventPage { with_json: true, ..EventPage::default() }, &mut |event| {
        found = Some(event);
        true
    })?;
    Ok(found)
}

fn content(page: &PageState, looked: Looked, query: &EventQuery) -> Value {
    let Looked { event, forwards, targets, newer, older } = looked;
    let json = String::from_utf8_lossy(event.json.as_deref().unwrap_or_default()).into_owned();
    let said = value(json.as_bytes());
    let text = ["text", "Exception", "description"].iter().find_map(|name| said[*name].as_str());
    let curl = shlex::try_quote(&json).ok().map(|body| {
        format!("curl --json {} http://127.0.0.1:3000/", shlex::try_quote(&format!("[{json}]")).unwrap_or(body))
    });
    let is_cut = json.chars().count() > MAX_JSON;
    let shown = if is_cut { json.chars().take(MAX_JSON).collect() } else { pretty_json(&json, MAX_INDENT) };
    let address = query.address(&[]);
    content! {
        current => "events",
        address => address,
        event => EventLine::of(&event),
        title => event.title.clone().unwrap_or_else(|| "(no title)".to_owned()),
        full_id => event.id,
        error => event.error,
        forwarded_at => event.forwarded_at.map(ShownTime::from),
        text => text.map(rendered),
        dashboard => web_link(&said["self"]).or_else(|| web_link(&said["URL"])),
        groups => groups(&said),
        json => shown,
        is_cut => is_cut,
        curl => curl,
        forwards => forwards.into_iter().map(ForwardLine::of).collect::<Vec<_>>(),
        targets => targets,
        newer => newer,
        older => older,
        may_replay => !page.options.allowed_hosts.is_empty(),
    }
}

fn web_link(link: &serde_json::Value) -> Option<String> {
    let link = url::Url::parse(link.as_str()?).ok()?;
    matches!(link.scheme(), "http" | "https").then(|| link.to_string())
}

/// A part of an event as names with their values.
#[derive(Serialize)]
struct FieldGroup {
    name: &'static str,
    fields: Vec<(String, String)>,
}

/// App, session and device, and all that they hold.
fn groups(event: &serde_json::Value) -> Vec<FieldGroup> {
    let parts = [("App", "app"), ("Session", "session"), ("Device", "device"), ("User attributes", "User Attributes")];
    let group = |(name, key): (&'static str, &str)| {
        let mut fields = Vec::new();
        collect(&event[key], "", &mut fields);
        (!fields.is_empty()).then_some(FieldGroup { name, fields })
    };
    parts.into_iter().filter_map(group).collect()
}

/// The most fields of a part that are shown; all are in the JSON.
const MAX_FIELDS: usize = 200;

fn collect(value: &serde_json::Value, path: &str, fields: &mut Vec<(String, String)>) {
    if fields.len() >= MAX_FIELDS {
        return;
    }
    match value {
        serde_json::Value::Object(object) => {
            for (name, value) in object {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(value, &path, fields);
            }
        }
        serde_json::Value::Null => {}
        serde_json::Value::String(text) => fields.push((path.to_owned(), text.clone())),
        other => fields.push((path.to_owned(), other.to_string())),
    }
}

/// Gives the delivery that the event came in, byte for byte.
pub(super) async fn raw(State(page): State<SharedPage>, Path(seq): Path<i64>) -> Response<Body> {
    match page.readers.quick.run(move |inbox| inbox.delivery_of(EventSeq(seq))).await {
        Ok(Some(delivery)) => {
            let mut response = Response::new(Body::from(delivery.body));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            let name = format!("attachment; filename=\"delivery-of-event-{seq}.json\"");
            if let Ok(name) = HeaderValue::from_str(&name) {
                headers.insert(header::CONTENT_DISPOSITION, name);
            }
            response
        }
        Ok(None) => WebFailure::gone("event").response(&page),
        Err(error) => WebFailure::from(error).response(&page),
    }
}

/// Which target is meant, if it is one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RetryForm {
    target: String,
}

/// Requeues what a target did not accept.
pub(super) async fn retry(
    State(page): State<SharedPage>,
    Extension(visitor): Extension<Visitor>,
    Path(seq): Path<i64>,
    Query(query): Query<EventQuery>,
    Form(form): Form<RetryForm>,
) -> Response<Body> {
    // No name of a target has NUL, which PostgreSQL does not take.
    let target = Some(form.target.replace('\0', "\u{fffd}")).filter(|target| !target.is_empty());
    let selection = EventSelection { target: target.clone(), ..only(EventSeq(seq)) };
    match page.readers.changes.run(move |inbox| inbox.requeue(&selection, Timestamp::now())).await {
        Ok(requeued) if requeued.forwards == 0 => {
            after(&page, seq, &query, Notice::bad("Nothing of it waits or failed."))
        }
        Ok(_) => {
            let to = target.map(|target| format!(" for {target}")).unwrap_or_default();
            (page.options.changes)(&format!("{} requeued event {seq}{to}", visitor.0));
            after(&page, seq, &query, Notice::good("It is queued, and tried at once."))
        }
        Err(error) => WebFailure::from(error).response(&page),
    }
}

/// Where an event is to go.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ReplayForm {
    target: String,
    url: String,
}

/// Forwards an event to a target again, or sends it to a URL.
pub(super) async fn replay(
    State(page): State<SharedPage>,
    Extension(visitor): Extension<Visitor>,
    Path(seq): Path<i64>,
    Query(query): Query<EventQuery>,
    Form(form): Form<ReplayForm>,
) -> Response<Body> {
    let outcome = if form.url.trim().is_empty() {
        page.forward_again(seq, &form.target).await
    } else {
        match allowed_url(&page.options.allowed_hosts, &form.url) {
            Ok(url) => page.send_to(seq, &url).await,
            Err(problem) => Err(WebFailure::unusable(problem)),
        }
    };
    match outcome {
        Ok((notice, done)) => {
            (page.options.changes)(&format!("{} {done}", visitor.0));
            after(&page, seq, &query, notice)
        }
        Err(failure) => {
            let typed = content! { problem => failure.message(), typed_url => form.url, typed_target => form.target };
            answer(&page, seq, &query, StatusCode::UNPROCESSABLE_ENTITY, typed).await
        }
    }
}

impl PageState {
    async fn forward_again(&self, seq: i64, target: &str) -> Result<(Notice, String), WebFailure> {
        let name = target.to_owned();
        let forward = move |inbox: &mut (dyn Inbox + 'static)| {
            let Some(target) = inbox.target_records()?.into_iter().find(|record| record.name == name) else {
                return Ok(None);
            };
            inbox.forward_again(&[EventSeq(seq)], target.id, Timestamp::now()).map(Some)
        };
        match self.readers.changes.run(forward).await? {
            None => Err(WebFailure::unusable("choose a target, or write a URL")),
            Some(0) => Err(WebFailure::unusable(format!("it waits for {target} already"))),
            Some(_) => {
                let notice = Notice::good(format!("It is queued for {target}."));
                Ok((notice, format!("forwarded event {seq} to {target} again")))
            }
        }
    }

    async fn send_to(&self, seq: i64, url: &url::Url) -> Result<(Notice, String), WebFailure> {
        let event = self.readers.quick.run(move |inbox| one(inbox, EventSeq(seq))).await?;
        let event = event.ok_or_else(|| WebFailure::gone("event"))?;
        let notice = self.options.clients.send(url, &event).await;
        let done = format!("replayed event {seq} to {}", crate::domain::ShownTarget::of(url));
        Ok((notice, done))
    }
}

/// Deletes an event.
pub(super) async fn delete(
    State(page): State<SharedPage>,
    Extension(visitor): Extension<Visitor>,
    Path(seq): Path<i64>,
    Query(query): Query<EventQuery>,
) -> Response<Body> {
    match page.readers.changes.run(move |inbox| inbox.delete(&[EventSeq(seq)])).await {
        Ok(deleted) => {
            let notice = if deleted > 0 {
                (page.options.changes)(&format!("{} deleted event {seq}", visitor.0));
                Notice::good("The event is deleted.")
            } else {
                Notice::bad("There was no such event any more.")
            };
            let note = i64::try_from(page.notices.keep(notice)).unwrap_or_default();
            see_other(&format!("{}/{}", page.options.base_path, query.address(&[("note", note)])))
        }
        Err(error) => WebFailure::from(error).response(&page),
    }
}

/// Leads back to the event, with what came of the change.
fn after(page: &PageState, seq: i64, query: &EventQuery, notice: Notice) -> Response<Body> {
    let note = i64::try_from(page.notices.keep(notice)).unwrap_or_default();
    see_other(&format!("{}/events/{seq}{}", page.options.base_path, query.address(&[("note", note)])))
}

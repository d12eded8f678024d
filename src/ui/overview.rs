//! How it goes: events over time, what waits, and how much room there is.

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use minijinja::value::Value;
use serde::{Deserialize, Serialize};

use super::chart::{ChartRange, RANGES, chart};
use super::failure::WebFailure;
use super::targets_page::TargetLine;
use super::templates::content;
use super::{PageState, SharedPage};
use crate::domain::ShownTime;
use crate::store::{Inbox, StoreError};

/// Which stretch of time is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RangeQuery {
    range: String,
}

/// When an app last sent an event of a type.
#[derive(Serialize)]
struct ArrivalLine {
    app_id: i64,
    event_type: String,
    last_at: ShownTime,
}

/// What is known of whether deliveries reach a receiver by its public URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelfCheckView {
    /// No more than that a receiver may know: it is another process.
    OfReceiver,
    /// The receiver does not check it.
    Off,
    /// It was not checked yet.
    Unknown,
    /// They do, since then.
    Passing(Timestamp),
    /// They do not since then, for this reason.
    Failing(Timestamp, String),
}

/// The same on the page.
#[derive(Serialize)]
struct SelfCheckLine {
    state: &'static str,
    since: Option<ShownTime>,
    reason: Option<String>,
}

impl SelfCheckLine {
    fn of(view: SelfCheckView) -> Self {
        let (state, since, reason) = match view {
            SelfCheckView::OfReceiver => ("of receiver", None, None),
            SelfCheckView::Off => ("off", None, None),
            SelfCheckView::Unknown => ("unknown", None, None),
            SelfCheckView::Passing(since) => ("passing", Some(since), None),
            SelfCheckView::Failing(since, reason) => ("failing", Some(since), Some(reason)),
        };
        Self { state, since: since.map(ShownTime::from), reason }
    }
}

/// Shows how it goes.
pub(super) async fn show(State(page): State<SharedPage>, Query(query): Query<RangeQuery>) -> Response<Body> {
    match overview(&page, ChartRange::named(&query.range)).await {
        Ok(content) => page.templates.respond(&page, StatusCode::OK, "overview.html", content),
        Err(failure) => failure.response(&page),
    }
}

async fn overview(page: &PageState, range: ChartRange) -> Result<Value, WebFailure> {
    let now = Timestamp::now();
    let since = range.since(now);
    let counted = page.readers.slow.run(move |inbox| {
        let until = now.checked_add(range.step()).unwrap_or(now);
        let buckets = inbox.histogram(since, until, range.step())?;
        Ok::<_, StoreError>((buckets, inbox.forward_latency(since)?))
    });
    let known = page.readers.quick.run(|inbox: &mut (dyn Inbox + 'static)| {
        let arrivals = inbox.arrivals()?.into_iter().map(|arrival| ArrivalLine {
            app_id: arrival.app_id,
            event_type: arrival.event_type,
            last_at: arrival.last_at.into(),
        });
        let arrivals: Vec<_> = arrivals.collect();
        let targets = (inbox.target_records()?, inbox.routes()?);
        Ok::<_, StoreError>((inbox.backlog()?, inbox.usage()?, targets, arrivals, inbox.warnings()?))
    });
    let ((buckets, latency), (backlog, usage, targets, arrivals, warnings)) = tokio::try_join!(counted, known)?;
    let (targets, routes) = targets;
    let chart = chart(range, since, &buckets);
    Ok(content! {
        current => "overview",
        range => range.name,
        ranges => RANGES.map(|range| range.name),
        chart => chart,
        latency => latency.map(|latency| content! {
            p50 => time_text(latency.p50), p99 => time_text(latency.p99), forwards => latency.forwards,
        }),
        pending => backlog.pending,
        dead => backlog.dead,
        oldest_pending => backlog.oldest_pending.map(ShownTime::from),
        last_event => backlog.last_event.map(ShownTime::from),
        bytes => size_text(usage.bytes),
        free_bytes => usage.free_bytes.map(size_text),
        quarantined => usage.quarantined,
        targets => targets.into_iter().map(|target| TargetLine::of(target, &routes, now)).collect::<Vec<_>>(),
        arrivals => arrivals,
        self_check => SelfCheckLine::of((page.options.self_check)()),
        warnings => warnings,
    })
}

fn size_text(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

fn time_text(time: std::time::Duration) -> String {
    match time.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        millis @ 1000..60_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        millis => format!("{} min", millis / 60_000),
    }
}

//! Beginning, watching and cancelling a job.

use axum::Form;
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::access::Visitor;
use super::event_query::EventQuery;
use super::failure::WebFailure;
use super::jobs::{BulkJob, JobAction, JobState};
use super::redirect::see_other;
use super::templates::content;
use super::{PageState, SharedPage};
use crate::domain::excerpt;

/// What is to be done with all that match.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct JobForm {
    action: String,
    to: String,
}

/// Begins a job on the events that the query of the address selects.
pub(super) async fn begin(
    State(page): State<SharedPage>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<EventQuery>,
    Form(form): Form<JobForm>,
) -> Response<Body> {
    match page.begin_from(&query, &form, &visitor).await {
        Ok(number) => see_other(&format!("{}/jobs/{number}", page.options.base_path)),
        Err(failure) => failure.response(&page),
    }
}

impl PageState {
    async fn begin_from(
        self: &std::sync::Arc<Self>,
        query: &EventQuery,
        form: &JobForm,
        visitor: &Visitor,
    ) -> Result<u64, WebFailure> {
        let selection = query.selection(Timestamp::now()).map_err(WebFailure::unusable)?;
        let action = match form.action.as_str() {
            "retry" => JobAction::Retry,
            "delete" => JobAction::Delete,
            "forward" => {
                let targets = self.readers.quick.run(|inbox| inbox.target_records()).await?;
                let target = targets.into_iter().find(|target| target.name == form.to);
                let target = target.ok_or_else(|| WebFailure::unusable("choose a target to forward to"))?;
                JobAction::Forward(target.id, target.name)
            }
            _ => return Err(WebFailure::unusable("choose what to do with the events")),
        };
        let which = if query.is_empty() { "all events".to_owned() } else { excerpt(&query.address(&[]), 300) };
        let what = action.shown();
        let number = self.begin_job(selection, action).await?;
        (self.options.changes)(&format!("{} began job {number}: {what}: {which}", visitor.0));
        Ok(number)
    }
}

/// Shows how far a job is: as JSON for a script that asks for it.
pub(super) async fn show(
    State(page): State<SharedPage>,
    Path(number): Path<u64>,
    headers: axum::http::HeaderMap,
) -> Response<Body> {
    let Some(job) = page.jobs.get(number) else {
        return WebFailure::not_found("there is no such job: it may have ended long ago").response(&page);
    };
    let (looked_at, changed) = job.progress();
    let (state, problem) = match job.state() {
        JobState::Running => ("running", None),
        JobState::Done => ("done", None),
        JobState::Cancelled => ("cancelled", None),
        JobState::Failed(problem) => ("failed", Some(problem)),
    };
    let total = job.total.max(looked_at);
    if headers.get("accept").is_some_and(|accept| accept == "application/json") {
        let text = progress_text(&job, total);
        let progress = json!({"state": state, "looked_at": looked_at, "total": total, "text": text});
        return Json(progress).into_response();
    }
    let is_reread = job.action == JobAction::Reread;
    let content = content! {
        current => if is_reread { "quarantine" } else { "events" },
        is_reread,
        number,
        action => job.action.shown(),
        state,
        problem,
        looked_at,
        left => looked_at.saturating_sub(changed),
        text => progress_text(&job, total),
        total,
    };
    page.templates.respond(&page, StatusCode::OK, "job.html", content)
}

/// How far a job is, for people.
fn progress_text(job: &BulkJob, total: u64) -> String {
    let ((looked_at, changed), (unit, outcome)) = (job.progress(), job.action.nouns());
    format!("{looked_at} of {total} {unit}, {changed} {outcome}")
}

/// Cancels a job.
pub(super) async fn cancel(
    State(page): State<SharedPage>,
    Extension(visitor): Extension<Visitor>,
    Path(number): Path<u64>,
) -> Response<Body> {
    let Some(job) = page.jobs.get(number) else {
        return WebFailure::not_found("there is no such job: it may have ended long ago").response(&page);
    };
    job.cancel();
    (page.options.changes)(&format!("{} cancelled job {number}", visitor.0));
    see_other(&format!("{}/jobs/{number}", page.options.base_path))
}

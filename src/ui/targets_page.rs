//! The targets: how much waits for each, and pausing, resuming, dropping and testing.

use axum::body::Body;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SharedPage;
use super::access::Visitor;
use super::failure::WebFailure;
use super::notices::Notice;
use super::templates::content;
use crate::domain::ShownTime;
use crate::store::{Inbox, Route, StoreError, TargetId, TargetRecord};

/// A target on the page.
#[derive(Serialize)]
pub(super) struct TargetLine {
    id: i64,
    name: String,
    state: &'static str,
    paused_at: Option<ShownTime>,
    /// Until when it is left alone, as it is failing.
    suspended_until: Option<ShownTime>,
    /// Whether the last receiver forwards to it.
    is_in_use: bool,
    pending: u64,
    dead: u64,
}

impl TargetLine {
    pub(super) fn of(target: TargetRecord, routes: &[Route], now: Timestamp) -> Self {
        let suspended_until = target.suspended_until.filter(|until| *until > now);
        Self {
            id: target.id.0,
            state: match (target.paused_at, suspended_until) {
                (Some(_), _) => "paused",
                (None, Some(_)) => "failing",
                (None, None) => "active",
            },
            suspended_until: suspended_until.map(ShownTime::from),
            is_in_use: target.is_routed(routes),
            name: target.name,
            paused_at: target.paused_at.map(ShownTime::from),
            pending: target.pending,
            dead: target.dead,
        }
    }
}

/// What came of the last change, by its number.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TargetsQuery {
    note: Option<u64>,
}

/// Shows the targets.
pub(super) async fn show(State(page): State<SharedPage>, Query(query): Query<TargetsQuery>) -> Response<Body> {
    let read = |inbox: &mut (dyn Inbox + 'static)| Ok::<_, StoreError>((inbox.target_records()?, inbox.routes()?));
    match page.readers.quick.run(read).await {
        Ok((targets, routes)) => {
            let now = Timestamp::now();
            let targets: Vec<_> = targets.into_iter().map(|target| TargetLine::of(target, &routes, now)).collect();
            let notice = page.notices.take(query.note);
            let content = content! { current => "targets", targets, notice };
            page.templates.respond(&page, StatusCode::OK, "targets.html", content)
        }
        Err(error) => WebFailure::from(error).response(&page),
    }
}

/// A change of a target.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TargetChange {
    Pause,
    Resume,
    Drop,
}

/// Changes a target.
pub(super) async fn change(
    State(page): State<SharedPage>,
    Extension(visitor): Extension<Visitor>,
    Path((target, change)): Path<(i64, TargetChange)>,
) -> Response<Body> {
    let apply = move |inbox: &mut (dyn Inbox + 'static)| {
        let Some(record) = inbox.target_records()?.into_iter().find(|record| record.id == TargetId(target)) else {
            return Ok::<_, StoreError>(None);
        };
        let (id, now) = (record.id, Timestamp::now());
        let (done, text) = match change {
            TargetChange::Pause => (inbox.pause_target(id, now)?, "is paused".to_owned()),
            TargetChange::Resume => (inbox.resume_target(id, now)?, "is resumed".to_owned()),
            TargetChange::Drop => {
                let mut dropped = 0;
                // In steps, between which others write.
                loop {
                    match inbox.drop_pending(id, now)? {
                        0 => break,
                        some => dropped += some,
                    }
                }
                (dropped > 0, format!("has {dropped} forwards fewer: they are dead-lettered"))
            }
        };
        Ok(Some((record.name, done, text)))
    };
    match page.readers.changes.run(apply).await {
        Ok(None) => WebFailure::not_found("there is no such target").response(&page),
        Ok(Some((name, done, text))) => {
            let notice = if done {
                Notice::good(format!("{name} {text}."))
            } else {
                Notice::bad(format!("{name} was so already."))
            };
            if done {
                (page.options.changes)(&format!("{} changed a target: {name} {text}", visitor.0));
            }
            page.lead_to("/targets", notice)
        }
        Err(error) => WebFailure::from(error).response(&page),
    }
}

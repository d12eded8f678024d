//! The hooks on record, and who changed them.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::SharedPage;
use super::failure::WebFailure;
use super::templates::content;
use crate::domain::{HookId, ShownTime, shown_endpoint};
use crate::error::Result;
use crate::store::Change;

/// How many changes of a hook are shown.
const CHANGES: u64 = 200;

/// A hook on the page.
#[derive(Debug, Clone, Serialize)]
pub struct HookLine {
    /// Its id, once known.
    pub hook_id: Option<i64>,
    /// Its app.
    pub app_id: i64,
    /// Its event.
    pub event: &'static str,
    /// Its status.
    pub status: &'static str,
    /// Its label.
    pub label: Option<String>,
    /// The manifest that owns it.
    pub managed_by: Option<String>,
    /// Its endpoint, without what may be secret.
    pub target: String,
    /// When it was put on record.
    pub created_at: ShownTime,
    /// When a webhook last brought an event of its app and kind.
    pub last_event_at: Option<ShownTime>,
    /// When a delivery last came through its URL.
    pub verified_at: Option<ShownTime>,
    /// Why it may not deliver any more.
    pub drift: Option<String>,
}

/// The hooks on record, with what the inbox tells of them.
pub trait HookDirectory: Send + Sync {
    /// All of them that have not ended.
    ///
    /// # Errors
    /// When the registry or the inbox cannot be read.
    fn hooks(&self) -> Result<Vec<HookLine>>;

    /// The newest changes of a hook, newest first.
    ///
    /// # Errors
    /// When the registry cannot be read.
    fn history(&self, hook: HookId, limit: u64) -> Result<Vec<Change>>;
}

/// Shows the hooks.
pub(super) async fn show(State(page): State<SharedPage>) -> Response<Body> {
    let asked = std::sync::Arc::clone(&page);
    let hooks = tokio::task::spawn_blocking(move || asked.options.hooks.hooks()).await;
    match hooks.unwrap_or_else(|_| Err(crate::store::worker::ended())) {
        Ok(hooks) => {
            let content = content! { current => "hooks", hooks };
            page.templates.respond(&page, StatusCode::OK, "hooks.html", content)
        }
        Err(error) => WebFailure::from(error).response(&page),
    }
}

/// A change on the page.
#[derive(Serialize)]
struct ChangeLine {
    at: ShownTime,
    who: String,
    action: &'static str,
    target: String,
    reason: Option<String>,
}

/// Shows the changes of a hook.
pub(super) async fn history(State(page): State<SharedPage>, Path(hook): Path<i64>) -> Response<Body> {
    let asked = std::sync::Arc::clone(&page);
    let Some(hook_id) = HookId::new(hook) else {
        return WebFailure::not_found("there is no such hook").response(&page);
    };
    let read = move || asked.options.hooks.history(hook_id, CHANGES);
    let changes = tokio::task::spawn_blocking(read).await;
    match changes.unwrap_or_else(|_| Err(crate::store::worker::ended())) {
        Ok(changes) => {
            let line = |change: Change| ChangeLine {
                at: change.at.into(),
                who: change.actor.to_string(),
                action: change.action.as_str(),
                target: shown_endpoint(&change.subscription.target_url),
                reason: change.reason,
            };
            let changes: Vec<_> = changes.into_iter().map(line).collect();
            let content = content! { current => "hooks", hook, changes };
            page.templates.respond(&page, StatusCode::OK, "history.html", content)
        }
        Err(error) => WebFailure::from(error).response(&page),
    }
}

//! The requests of the API. `--dry-run` shows these same values.

use jiff::Timestamp;
use serde_json::json;

use crate::domain::{ApiOrigin, AppId, EventKind, HookId, IssueList, Subscription, whole_second};
use crate::http::{Method, Repeat, Request, RequestBody};

/// `POST /api/hook/subscribe`. The text of the help page has a trailing slash, its curl example has none; this follows
/// the example. The API has no idempotency key, so a repeated request creates a second hook.
pub fn subscribe(subscription: &Subscription) -> Request {
    let body = json!({
        "target_url": subscription.target_url.expose(),
        "event": subscription.event,
        "app_id": subscription.app_id,
    });
    Request {
        method: Method::POST,
        url: subscription.origin.url(["api", "hook", "subscribe"]),
        body: Some(RequestBody::Json(body)),
        repeat: Repeat::OnlyIfNotCarriedOut,
    }
}

/// `DELETE /api/hook/{hook_id}/`. The help page documents `…{hook_id}/`; the prefix `/api/hook/` is assumed.
pub fn unsubscribe(origin: &ApiOrigin, hook: HookId) -> Request {
    Request {
        method: Method::DELETE,
        url: origin.url(["api", "hook", &hook.to_string(), ""]),
        body: None,
        repeat: Repeat::Idempotent,
    }
}

/// `GET /api/me`, seen in published clients.
pub fn me(origin: &ApiOrigin) -> Request {
    Request { method: Method::GET, url: origin.url(["api", "me"]), body: None, repeat: Repeat::Idempotent }
}

/// `GET /api/app/`, seen in published clients.
pub fn apps(origin: &ApiOrigin) -> Request {
    Request { method: Method::GET, url: origin.url(["api", "app", ""]), body: None, repeat: Repeat::Idempotent }
}

/// Which issues are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuePageQuery {
    /// Of which app.
    pub app: AppId,
    /// In which list.
    pub list: IssueList,
    /// Those that were made at this time or later.
    pub since: Timestamp,
    /// How many are on a page.
    pub page_size: u32,
    /// Which page, from 1.
    pub page: u64,
}

/// `GET /api/app/{id}/issues`, seen in a published client. That pages are numbered from 1 is assumed.
pub fn issues(origin: &ApiOrigin, query: &IssuePageQuery) -> Request {
    let IssuePageQuery { app, list, since, page_size, page } = query;
    let mut url = origin.url(["api", "app", &app.to_string(), "issues"]);
    url.query_pairs_mut()
        .append_pair("date_range_start", &whole_second(*since).to_string())
        .append_pair("issue_status", &list.issue_status().to_string())
        .append_pair("page_size", &page_size.to_string())
        .append_pair("version", "-1")
        .append_pair("page", &page.to_string());
    Request { method: Method::GET, url, body: None, repeat: Repeat::Never }
}

/// Which groups are asked for: those with an issue of this kind between two times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupQuery {
    /// Of which app.
    pub app: AppId,
    /// Of which kind their issues are.
    pub kind: EventKind,
    /// From when on.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// `GET /api/app/{id}/issues-aggregation/summary`, seen in the vendor's own client: the first page, with the numbers of all.
pub fn issue_groups(origin: &ApiOrigin, query: &GroupQuery) -> Request {
    let GroupQuery { app, kind, since, until } = query;
    let mut url = origin.url(["api", "app", &app.to_string(), "issues-aggregation", "summary"]);
    url.query_pairs_mut()
        .append_pair("issue_type", &kind.issue_type().to_string())
        .append_pair("date_range_start", &whole_second(*since).to_string())
        .append_pair("date_range_end", &until.to_string())
        .append_pair("page_size", &GROUPS.to_string())
        .append_pair("page", "1");
    Request { method: Method::GET, url, body: None, repeat: Repeat::Never }
}

/// The most groups on a page (seen).
const GROUPS: u32 = 200;

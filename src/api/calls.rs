//! The requests of the API. `--dry-run` shows these same values.

use serde_json::json;

use crate::domain::{ApiOrigin, HookId, Subscription};
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

//! Sample events of Bugfender, in both documented shapes.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{long_text, now};
use crate::domain::EventKind;

/// The shape of an event.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventShape {
    /// The shape that the help page describes.
    #[default]
    Current,
    /// The older shape, which is on the same page.
    Older,
}

/// An event of an app, with an id of its own; `url` is that of the installation.
pub fn event(shape: EventShape, kind: EventKind, app_id: i64, url: &str) -> Value {
    match shape {
        EventShape::Current => current(kind, app_id, url),
        EventShape::Older => older(kind, app_id),
    }
}

/// An issue of an app that tells people and programs that it is there to try a target.
pub fn test_event(app_id: i64, url: &str) -> Value {
    let mut event = with_title(current(EventKind::NewIssueSeparate, app_id, url), "[test] A sample event");
    let id: String = std::iter::repeat_with(fastrand::alphanumeric).take(16).collect();
    let id = format!("test-{}", id.to_lowercase());
    (event["id"], event["uid"]) = (id.clone().into(), id.clone().into());
    event["self"] = format!("{url}/app/{app_id}/issues/{id}").into();
    event
}

/// The event with another title.
pub fn with_title(mut event: Value, title: &str) -> Value {
    event["title"] = title.into();
    event
}

/// The event in its current shape with fields that no documentation names.
pub fn with_unknown_fields(mut event: Value) -> Value {
    (event["check_text"], event["check_list"]) = ("new".into(), json!([1, null, {"deep": true}]));
    event["device"]["check_number"] = 1.5.into();
    event
}

/// The event with a text of 1 MB.
pub fn with_long_text(mut event: Value) -> Value {
    event["text"] = long_text().into();
    event
}

/// A body that breaks off in the middle of an event of this title: it is not JSON.
pub fn malformed(title: &str) -> Vec<u8> {
    format!("[{{\"title\": \"{title}\"").into_bytes()
}

fn title(kind: EventKind) -> &'static str {
    match kind {
        EventKind::NewCrash => "NullPointerException in CheckoutActivity.onResume",
        EventKind::NewIssueSeparate => "Payment provider answered with an empty body",
        EventKind::NewUserFeedback => "The cart is empty after an update",
    }
}

fn text(kind: EventKind) -> &'static str {
    match kind {
        EventKind::NewCrash => {
            "```\njava.lang.NullPointerException\n\tat CheckoutActivity.onResume(CheckoutActivity.kt:42)\n```"
        }
        EventKind::NewIssueSeparate => "**Expected** a receipt, **got** nothing. Order `1733`.",
        EventKind::NewUserFeedback => "I had three things in my cart. After the update they were *gone*.",
    }
}

fn current(kind: EventKind, app_id: i64, url: &str) -> Value {
    let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(16).collect();
    let id = format!("{}-{}", kind.delivered_type(), random.to_lowercase());
    json!({
        "id": id,
        "uid": id,
        "title": title(kind),
        "text": text(kind),
        "app": {"id": app_id, "name": format!("Sandbox app {app_id}"), "created_at": "2024-01-15T09:30:00Z"},
        "type": kind.delivered_type(),
        "status": "open",
        "session": {"app_version": {"version": "3.2.1", "build": "321"}, "os_version": "15", "language": "en"},
        "device": {
            "udid": "5d1fa1b0-7c9e-4e0b-9a43-2f2b6a3d7c55",
            "name": "Pixel 9",
            "language": "en",
            "user_data": {"plan": "premium"},
        },
        "created_at": now(),
        "self": format!("{url}/app/{app_id}/issues/{id}"),
    })
}

fn older(kind: EventKind, app_id: i64) -> Value {
    json!({
        "id": fastrand::i64(1..1_000_000_000),
        "title": title(kind),
        "text": text(kind),
        "app": {"name": format!("Sandbox app {app_id}"), "key": format!("sandbox-key-{app_id}")},
        "status": 0,
        "session": {"app_version": "3.2.1", "os_version": "15", "language": "en"},
        "session_id": fastrand::i64(1..1_000_000_000),
    })
}

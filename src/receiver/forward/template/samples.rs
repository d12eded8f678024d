//! Events that a template is tested with: of every kind, with and without their optional parts, and with text that could
//! break out of its field.

use jiff::Timestamp;

use crate::domain::event::{Sender, decode};
use crate::store::{Forward, ForwardId};

const SAMPLES: [(&str, Sender, &str); 13] = [
    (
        "a crash",
        Sender::Bugfender,
        r#"[{"id":"a1","uid":"a1","title":"Sample","text":"text","type":"crash","status":"open",
      "app":{"id":1,"name":"App","created_at":"2024-01-01T00:00:00Z"},"session":{"app_version":{"version":"1.0","build":"1"},
      "os_version":"15","language":"en"},"device":{"udid":"u","name":"Phone","language":"en","user_data":{"plan":"x"}},
      "created_at":"2024-01-01T00:00:00Z","self":"https://dashboard.example.com/1"}]"#,
    ),
    (
        "an issue",
        Sender::Bugfender,
        r#"[{"id":"a2","title":"Sample","text":"text","type":"issue","app":{"id":1,"name":"App"},
      "device":{"name":"Phone","user_data":{}},"self":"https://dashboard.example.com/1"}]"#,
    ),
    (
        "feedback",
        Sender::Bugfender,
        r#"[{"id":"a3","title":"Sample","text":"text","type":"feedback","app":{"id":1,"name":"App"}}]"#,
    ),
    (
        "an event of the older shape",
        Sender::Bugfender,
        r#"[{"id":4,"title":"Sample","text":"text","app":{"name":"App",
      "key":"k"},"status":0,"session":{"app_version":"1.0"},"session_id":5}]"#,
    ),
    ("an event with an id only", Sender::Bugfender, r#"[{"id":"a6"}]"#),
    (
        "an event with blank parts",
        Sender::Bugfender,
        r#"[{"id":"a7","type":"","title":" ","text":" \n","app":{"name":""},
      "device":{"name":" "},"self":""}]"#,
    ),
    (
        "an event with other types of values",
        Sender::Bugfender,
        r#"[{"id":8,"title":1,"text":[],"type":null,"app":"x",
      "session":[],"device":7,"self":{}}]"#,
    ),
    (
        "an event with quotes and brackets",
        Sender::Bugfender,
        r#"[{"id":"\"a9\"","title":"\"<b>\" & \\ {{x}}\u0000\u2028",
      "text":"**\"text\"**\nof it","type":"\"cr\\ash","app":{"id":1,"name":"\"App\""},"self":"https://example.com/\"1"}]"#,
    ),
    (
        "a crash of Luciq",
        Sender::Instabug,
        r#"{"Exception":"Sample","Number":1,"URL":"https://dashboard.example.com/1",
      "Status":"New","Email":"a@example.com","Reported At":"2024","Device":"Phone","App Version":"1.0","Luciq Log":"",
      "User Attributes":{},"Image Attachments":[]}"#,
    ),
    (
        "a bug of Luciq",
        Sender::Instabug,
        r#"{"Title":"Sample","Reported At":"2024","Type":"bug","URL":"https://example.com/1",
      "Device":"Phone","App Version":"1.0"}"#,
    ),
    (
        "an alert of Luciq",
        Sender::Instabug,
        r#"{"title":"Sample","metric":"duration","trigger":"p95","trace":"t",
      "trigger_operator":"greater_than","test_value":2,"duration":"1h","conditions":[],"current_value":"3","application":"App",
      "platform":"android","url":"https://example.com/1"}"#,
    ),
    ("a report of Luciq with its title only", Sender::Instabug, r#"{"Title":"Sample","Reported At":"2024"}"#),
    ("a report of Luciq without fields", Sender::Instabug, "{}"),
];

/// Each sample, and what it is.
pub(super) fn all() -> impl Iterator<Item = (&'static str, Forward)> {
    SAMPLES.into_iter().map(|(what, sender, body)| (what, forward(sender, body)))
}

/// A forward of the events in a body.
pub(super) fn forward(sender: Sender, body: &str) -> Forward {
    let body = body.as_bytes().to_vec();
    Forward {
        id: ForwardId(0),
        sender,
        content_type: None,
        received_at: Timestamp::UNIX_EPOCH,
        queued_at: Timestamp::UNIX_EPOCH,
        attempts: 0,
        events: decode(sender, &body).unwrap_or_default(),
        body,
        whole: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_is_an_event() {
        for (what, forward) in all() {
            assert_eq!(forward.events.len(), 1, "{what}");
        }
    }
}

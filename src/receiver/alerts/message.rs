//! Alerts as they are sent: JSON of this project's own, or what a template makes.

use jiff::Timestamp;
use minijinja::context;
use ring::digest::{SHA256, digest};
use serde_json::json;

use super::super::template::{MessageTemplate, TemplateKind};
use super::board::AlertMessage;
use super::condition::{AlertCondition, AlertState};
use crate::domain::{AppId, EventKind, whole_second};
use crate::error::Result;

/// Templates for alerts.
const OF_ALERTS: TemplateKind = TemplateKind {
    built_in: [
        ("slack", include_str!("templates/slack.json")),
        ("discord", include_str!("templates/discord.json")),
        ("teams", include_str!("templates/teams.json")),
    ],
    samples,
    hint: "alerts may lack `app_id`, `event` and `count`: use `default`, or test with `if`",
};

/// A compiled template for alerts.
pub struct AlertTemplate(MessageTemplate);

impl AlertTemplate {
    /// A built-in template, by its name, or that of a file.
    ///
    /// # Errors
    /// A usage error when it cannot be read, does not compile, or fails over an alert of some kind.
    pub fn load(name: &str) -> Result<Self> {
        MessageTemplate::load(name, &OF_ALERTS).map(Self)
    }
}

impl AlertMessage {
    /// Its media type, and its bytes.
    ///
    /// # Errors
    /// When the template fails over it.
    pub(super) fn body(&self, template: Option<&AlertTemplate>, receiver: Option<&str>) -> Result<(String, Vec<u8>)> {
        if let Some(AlertTemplate(template)) = template {
            return template.render(&self.values(receiver));
        }
        let mut body = json!({
            "alert": self.condition.kind(),
            "state": self.state.to_string(),
            "subject": self.condition.subject(),
            "summary": self.summary,
            "since": whole_second(self.since).to_string(),
            "receiver": receiver,
        });
        let more = [
            ("app_id", self.condition.app_id().map(|app_id| json!(app_id))),
            ("event", self.condition.event().map(|event| json!(event))),
            ("count", self.count().map(|count| json!(count))),
        ];
        for (name, value) in more {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        Ok(("application/json".to_owned(), body.to_string().into_bytes()))
    }

    /// The same at each attempt to send it, and different for any other.
    pub(super) fn id(&self, receiver: Option<&str>) -> String {
        let (kind, subject, state) = (self.condition.kind(), self.condition.subject(), self.state.to_string());
        let (since, count) = (self.since.to_string(), self.count.to_string());
        let parts = [receiver.unwrap_or_default(), kind, &subject, &state, &since, &count];
        format!("alert_{}", &hex::encode(digest(&SHA256, parts.join("\0").as_bytes()))[..32])
    }

    fn count(&self) -> Option<u64> {
        (self.count > 0).then_some(self.count)
    }

    /// What a template finds of it.
    fn values(&self, receiver: Option<&str>) -> minijinja::Value {
        context! {
            alert => self.condition.kind(),
            state => self.state.to_string(),
            subject => self.condition.subject(),
            title => self.condition.title(self.state),
            summary => self.summary.clone(),
            since => whole_second(self.since).to_string(),
            receiver => receiver,
            app_id => self.condition.app_id().map(AppId::get),
            event => self.condition.event().map(EventKind::as_str),
            count => self.count(),
        }
    }
}

/// An alert of each kind, firing and resolved.
fn samples() -> Vec<(&'static str, minijinja::Value)> {
    let of_targets = [
        ("an alert of a target that fails", AlertCondition::TargetFailing("\"crm\"\n<b>\\ {{x}}".to_owned()), 0),
        ("an alert of dead letters", AlertCondition::DeadLetters("crm".to_owned()), 3),
        ("an alert of the storage", AlertCondition::Storage, 0),
        ("an alert of the self-check", AlertCondition::SelfCheck, 0),
    ];
    let of_app = |app_id| {
        let silent = AlertCondition::SilentHook { app_id, event: EventKind::NewCrash };
        let missed = AlertCondition::CaughtUp { app_id };
        [("an alert of a silent hook", silent, 0), ("an alert of events that no webhook brought", missed, 3)]
    };
    let mut samples = Vec::new();
    for (what, condition, count) in of_targets.into_iter().chain(AppId::new(1001).into_iter().flat_map(of_app)) {
        for (state, receiver) in [(AlertState::Firing, None), (AlertState::Resolved, Some("host"))] {
            let (summary, since) = ("a \"sample\" & more".to_owned(), Timestamp::UNIX_EPOCH);
            let message = AlertMessage { condition: condition.clone(), state, summary, count, since };
            samples.push((what, message.values(receiver)));
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn message(text: &str) -> AlertMessage {
        let (condition, since) = (AlertCondition::TargetFailing(text.to_owned()), Timestamp::UNIX_EPOCH);
        AlertMessage { condition, state: AlertState::Firing, summary: text.to_owned(), count: 0, since }
    }

    fn made(message: &AlertMessage, template: Option<&str>) -> Value {
        let template = template.map(|name| AlertTemplate::load(name).unwrap());
        let (content_type, bytes) = message.body(template.as_ref(), Some("host")).unwrap();
        assert_eq!(content_type, "application/json");
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn every_kind_is_json_without_a_template() {
        let app_id = AppId::new(1001).unwrap();
        let condition = AlertCondition::SilentHook { app_id, event: EventKind::NewCrash };
        let alert = AlertMessage { condition, count: 3, ..message("nothing for 7 days") };
        let expected = json!({
            "alert": "silent_hook", "state": "firing", "subject": "app 1001, new_crash", "summary": "nothing for 7 days",
            "since": "1970-01-01T00:00:00Z", "receiver": "host", "app_id": 1001, "event": "new_crash", "count": 3,
        });
        assert_eq!(made(&alert, None), expected);
    }

    #[test]
    fn no_text_becomes_markup_or_exceeds_the_limits_of_a_service() {
        for text in
            ["<!channel> \"quoted\" & *bold* [x](http://y.example)\u{2028}", &"*".repeat(5000), &"<".repeat(5000)]
        {
            let alert = message(text);
            let length = |value: &Value| value.as_str().unwrap().encode_utf16().count();
            let slack = made(&alert, Some("slack"));
            assert!(length(&slack["text"]) <= 4000 && !slack["text"].as_str().unwrap().contains('<'), "{slack}");
            assert!(length(&slack["blocks"][0]["text"]["text"]) <= 150, "{slack}");
            assert!(slack["blocks"].as_array().unwrap().iter().all(|block| {
                block.pointer("/text/type").or(block.pointer("/elements/0/type")).unwrap() == "plain_text"
            }));
            let embed = &made(&alert, Some("discord"))["embeds"][0];
            assert!(length(&embed["title"]) <= 256 && length(&embed["description"]) <= 4096, "{embed}");
            assert!(!embed["description"].as_str().unwrap().replace("\\*", "").contains('*'), "{embed}");
            let card = made(&alert, Some("teams"))["attachments"][0]["content"]["body"].to_string();
            assert!(card.len() <= 28 * 1024 && !card.contains("](http"), "{card}");
        }
    }

    #[test]
    fn an_id_stays_the_same_at_each_attempt() {
        let (one, other) = (message("crm"), AlertMessage { state: AlertState::Resolved, ..message("crm") });
        let retried = AlertMessage { summary: "HTTP 500".to_owned(), ..one.clone() };
        assert_eq!(one.id(Some("host")), retried.id(Some("host")));
        assert_ne!(one.id(Some("host")), other.id(Some("host")));
        assert_ne!(one.id(Some("host")), one.id(Some("another")));
    }
}

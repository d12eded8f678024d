//! Templates that turn an event into a message: `MiniJinja`, the built-in ones for chat services among them.

use std::path::Path;

use jiff::Timestamp;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use serde_json::Value;

use crate::domain::event::{EventFacts, Sender, decode};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Forward, ForwardId};

/// The built-in templates.
pub const BUILT_IN_TEMPLATES: [(&str, &str); 3] = [
    ("slack", include_str!("templates/slack.json")),
    ("discord", include_str!("templates/discord.json")),
    ("teams", include_str!("templates/teams.json")),
];

/// How many steps a template may take for a message: some milliseconds, so that it does not delay receiving.
const FUEL: u64 = 200_000;

/// The event that a template is tested with when it is loaded.
const SAMPLE: &str = r#"[{"id":"sample","title":"Sample <event> & \"title\"","text":"**text**\nof it","type":"crash",
  "app":{"id":1,"name":"Sample"},"status":"open","session":{"app_version":{"version":"1.0","build":"1"}},
  "device":{"name":"Phone","user_data":{}},"self":"https://example.com/1","created_at":"2024-01-01T00:00:00Z"}]"#;

/// A compiled template.
#[derive(Clone)]
pub struct Template {
    environment: Environment<'static>,
    name: String,
}

impl Template {
    /// A built-in template, by its name, or that of a file.
    ///
    /// # Errors
    /// A usage error when it cannot be read, does not compile, or fails over a sample event.
    pub fn load(name: &str) -> Result<Self> {
        if let Some((name, text)) = BUILT_IN_TEMPLATES.into_iter().find(|(known, _)| *known == name) {
            return Self::compile(&format!("{name}.json"), text.to_owned());
        }
        let path = Path::new(name);
        let text = std::fs::read_to_string(path).map_err(|error| {
            let built_in = BUILT_IN_TEMPLATES.map(|(name, _)| name).join(", ");
            Error::usage(format!("the template {name}: {error}"))
                .hint(format!("name a file, or one of the built-in templates: {built_in}"))
        })?;
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        Self::compile(&file_name, text)
    }

    fn compile(name: &str, text: String) -> Result<Self> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        // A missing field is undefined at any depth, as senders' events differ in shape.
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_formatter(|out, state, value| match state.auto_escape() {
            // In plain text, an undefined or null value is empty.
            AutoEscape::None if value.is_none() => Ok(()),
            _ => minijinja::escape_formatter(out, state, value),
        });
        environment.add_filter("short", short);
        environment.add_filter("slack", slack);
        environment.add_filter("discord", discord);
        let wrong = |error: &minijinja::Error| {
            Error::usage(format!("the template {name}: {error:#}"))
                .hint("see https://docs.rs/minijinja for the language")
        };
        environment.add_template_owned(name.to_owned(), text.clone()).map_err(|error| wrong(&error))?;
        let mut template = Self { environment, name: name.to_owned() };
        let sample = sample();
        let Some(event) = sample.events.first() else { return Ok(template) };
        let plain = template.text(&sample, event).map_err(|error| wrong(&error))?;
        if plain.trim_start().starts_with(['{', '[']) {
            // Values are escaped as JSON, so that an event cannot change the message's structure.
            template.environment.set_auto_escape_callback(|_| AutoEscape::Json);
            template.environment.add_template_owned(name.to_owned(), text).map_err(|error| wrong(&error))?;
            let json = template.text(&sample, event).map_err(|error| wrong(&error))?;
            if serde_json::from_str::<serde::de::IgnoredAny>(&json).is_err() {
                return Err(Error::usage(format!("the template {name} looks like JSON but does not make any"))
                    .hint("values are written as JSON: {{ title }}, without quotes around it"));
            }
        }
        Ok(template)
    }

    /// The message for an event, and its media type.
    ///
    /// # Errors
    /// When the template fails over it.
    pub(super) fn render(&self, forward: &Forward, event: &EventFacts) -> Result<(String, Vec<u8>)> {
        let text = self.text(forward, event).map_err(|error| {
            Error::new(ErrorKind::Other, format!("the template {} failed: {error:#}", self.name)).source(error)
        })?;
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        let content_type = if is_json { "application/json" } else { "text/plain; charset=utf-8" };
        Ok((content_type.to_owned(), text.into_bytes()))
    }

    fn text(&self, forward: &Forward, event: &EventFacts) -> Result<String, minijinja::Error> {
        let whole: Value = serde_json::from_slice(forward.event_json(event)).unwrap_or_default();
        let field = |names: &[&str]| names.iter().find_map(|name| whole.get(name)?.as_str().map(str::to_owned));
        let context = context! {
            id => event.id.clone(),
            source => forward.sender.as_str(),
            type => event.event_type.clone(),
            app_id => event.app_id,
            title => event.title.clone(),
            text => field(&["text"]),
            url => field(&["self", "URL", "url"]).filter(|url| url.starts_with("https://") || url.starts_with("http://")),
            received_at => forward.received_at.to_string(),
            event => Serde(&whole),
        };
        self.environment.get_template(&self.name)?.render(context)
    }
}

/// A sample forward of one event.
fn sample() -> Forward {
    let body = SAMPLE.as_bytes().to_vec();
    Forward {
        id: ForwardId(0),
        sender: Sender::Bugfender,
        content_type: None,
        received_at: Timestamp::UNIX_EPOCH,
        queued_at: Timestamp::UNIX_EPOCH,
        attempts: 0,
        events: decode(Sender::Bugfender, &body).unwrap_or_default(),
        body,
        whole: true,
    }
}

/// At most `max` characters.
fn short(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Text for Slack, with links and mentions escaped.
/// <https://docs.slack.dev/messaging/formatting-message-text#escaping>
fn slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Text for Discord and Teams, with formatting escaped.
fn discord(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '_' | '~' | '`' | '|' | '>' | '[' | ']' | '(' | ')' | '#' | '\\' | '<' | '@') {
            plain.push('\\');
        }
        plain.push(c);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &Template, body: &str) -> (String, String) {
        let events = decode(Sender::Bugfender, body.as_bytes()).unwrap();
        let forward = Forward { events, body: body.into(), ..sample() };
        let (content_type, bytes) = template.render(&forward, &forward.events[0]).unwrap();
        (content_type, String::from_utf8(bytes).unwrap())
    }

    const NASTY: &str = r#"[{"id":"1","title":"<!channel> \"quoted\" & *bold*\u2028","text":"a","type":"crash","self":"javascript:1"}]"#;

    #[test]
    fn the_built_in_ones_are_json_whatever_is_in_the_event() {
        for (name, _) in BUILT_IN_TEMPLATES {
            let template = Template::load(name).unwrap();
            for body in [NASTY, r#"[{"id":7}]"#, SAMPLE] {
                let (content_type, text) = render(&template, body);
                assert_eq!(content_type, "application/json");
                let value: Value =
                    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"));
                assert!(!text.contains("<!channel>") && !text.contains("javascript:"), "{text}");
                assert!(value.is_object());
            }
        }
    }

    #[test]
    fn a_file_may_make_anything_of_an_event() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let template =
            Template::load(&file("plain.txt", "{{ type }}: {{ title|short(3) }} {{ event.none.none }}")).unwrap();
        let (content_type, text) = render(&template, NASTY);
        assert_eq!((content_type.as_str(), text.as_str()), ("text/plain; charset=utf-8", "crash: <!c… "));
        let template = Template::load(&file("own.json", r#"{"t": {{ title }}, "n": {{ event.n }}}"#)).unwrap();
        let (content_type, text) = render(&template, r#"[{"id":1,"title":"a\"b","n":{"x":[1]}}]"#);
        assert_eq!((content_type.as_str(), text.as_str()), ("application/json", r#"{"t": "a\"b", "n": {"x":[1]}}"#));
        // A value stays within its field, whatever the file is called.
        let template = Template::load(&file("named-anyhow.tmpl", "{\"t\": {{ title }}}")).unwrap();
        let (_, text) = render(&template, r#"[{"id":1,"title":"x\", \"channel\": \"general"}]"#);
        assert_eq!(text, r#"{"t": "x\", \"channel\": \"general"}"#);
        let commented = "{# for the team #}\n{% set t = title %}\n{\"t\": {{ t }}, \"a\": {{ app_id }}}";
        let template = Template::load(&file("commented", commented)).unwrap();
        let (_, text) = render(&template, r#"[{"id":1,"title":"a\"b"}]"#);
        assert_eq!(text.trim(), r#"{"t": "a\"b", "a": null}"#);
        let template =
            Template::load(&file("nothing.txt", "<{{ title }}>{% if title is none %}none{% endif %}")).unwrap();
        assert_eq!(render(&template, r#"[{"id":1}]"#).1, "<>none");
        let long = "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}";
        let error = Template::load(&file("long.txt", long)).err().unwrap();
        assert!(error.to_string().contains("fuel"), "{error}");
        assert!(Template::load(&file("quoted.tmpl", r#"{"t": "{{ title }}"}"#)).is_err());
        assert!(Template::load(&file("bad.txt", "{{ oops")).is_err());
        assert!(Template::load(&file("worse.txt", "{{ title|nope }}")).is_err());
        assert!(Template::load("not-there").is_err());
    }
}

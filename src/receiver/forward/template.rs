//! Templates that turn an event into a message, the built-in ones for chat services among them.

mod samples;

use minijinja::value::Serde;
use minijinja::{Value, context};

use super::super::template::{MessageTemplate, TemplateKind};
use crate::domain::event::{EventFacts, value};
use crate::error::Result;
use crate::store::Forward;

/// The built-in templates.
pub const BUILT_IN_TEMPLATES: [(&str, &str); 3] = [
    ("slack", include_str!("templates/slack.json")),
    ("discord", include_str!("templates/discord.json")),
    ("teams", include_str!("templates/teams.json")),
];

/// Templates for events.
const OF_EVENTS: TemplateKind = TemplateKind {
    built_in: BUILT_IN_TEMPLATES,
    samples: || {
        let values = |(what, forward): (_, Forward)| {
            let each = forward.events.iter().map(|event| (what, values(&forward, event)));
            each.collect::<Vec<_>>()
        };
        samples::all().flat_map(values).collect()
    },
    hint: "events may lack any field but the id: use `default`, or test with `if`",
};

/// A compiled template for events.
#[derive(Clone)]
pub struct Template(MessageTemplate);

impl Template {
    /// A built-in template, by its name, or that of a file.
    ///
    /// # Errors
    /// A usage error when it cannot be read, does not compile, or fails over an event of some kind.
    pub fn load(name: &str) -> Result<Self> {
        MessageTemplate::load(name, &OF_EVENTS).map(Self)
    }

    /// The message for an event, and its media type.
    ///
    /// # Errors
    /// When the template fails over it.
    pub(super) fn render(&self, forward: &Forward, event: &EventFacts) -> Result<(String, Vec<u8>)> {
        self.0.render(&values(forward, event))
    }
}

/// What a template finds of an event.
fn values(forward: &Forward, event: &EventFacts) -> Value {
    let whole = value(forward.event_json(event));
    let field = |names: &[&str]| names.iter().find_map(|name| whole.get(name)?.as_str().map(str::to_owned));
    context! {
        id => event.id.clone(),
        source => forward.sender.as_str(),
        type => event.event_type.clone(),
        app_id => event.app_id,
        title => event.title.clone(),
        text => field(&["text"]),
        url => field(&["self", "URL", "url"]).filter(|url| url.starts_with("https://") || url.starts_with("http://")),
        received_at => forward.received_at.to_string(),
        event => Serde(&whole),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::domain::event::Sender;

    fn render(template: &Template, body: &str) -> (String, String) {
        let forward = samples::forward(Sender::Bugfender, body);
        let (content_type, bytes) = template.render(&forward, &forward.events[0]).unwrap();
        (content_type, String::from_utf8(bytes).unwrap())
    }

    const NASTY: &str = r#"[{"id":"1","title":"<!channel> \"quoted\" & *bold*\u2028","text":"a","type":"crash","self":"javascript:1"}]"#;

    #[test]
    fn the_built_in_ones_are_json_whatever_is_in_the_event() {
        for (name, _) in BUILT_IN_TEMPLATES {
            let template = Template::load(name).unwrap();
            for body in [NASTY, r#"[{"id":7}]"#] {
                let (content_type, text) = render(&template, body);
                assert_eq!(content_type, "application/json");
                let value: Value =
                    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"));
                // In the other fields of Slack it is plain text.
                assert!(!value["text"].as_str().unwrap_or_default().contains("<!channel>"), "{text}");
                assert!(!text.contains("javascript:"), "{text}");
                assert!(value.is_object());
            }
        }
    }

    #[test]
    fn messages_for_chat_services_are_within_their_limits() {
        let long = |c: &str| c.repeat(5000);
        for c in ["a", "*", "<", "&", "\\n", "😀", "\\\\", "\\u0001", "-\\n"] {
            let body = format!(
                r#"[{{"id":"1","title":"{0}","text":"x{0}","type":"{0}","app":{{"name":"{0}"}},"device":{{"name":"{0}"}},"self":"https://d.example/{0}x"}}]"#,
                long(c)
            );
            let message =
                |name| serde_json::from_str::<Value>(&render(&Template::load(name).unwrap(), &body).1).unwrap();
            let length = |value: &Value| value.as_str().unwrap().encode_utf16().count();
            let discord = &message("discord")["embeds"][0];
            assert!(length(&discord["title"]) <= 256 && length(&discord["footer"]["text"]) <= 2048, "{c}");
            assert!(discord.get("description").is_none_or(|text| length(text) <= 4096), "{c}");
            assert_eq!(discord.get("url"), None);
            let slack = message("slack");
            assert!(length(&slack["text"]) <= 4000, "{c}");
            for block in slack["blocks"].as_array().unwrap() {
                let text = block.pointer("/text/text").or(block.pointer("/elements/0/text")).unwrap();
                assert!(length(text) <= if block["type"] == "header" { 150 } else { 3000 }, "{c} {block}");
            }
            assert!(message("teams").to_string().len() <= 28 * 1024, "{c}");
        }
    }

    #[test]
    fn blank_parts_and_links_that_a_service_refuses_are_left_out() {
        let body = r#"[{"id":"7","title":" ","text":" \n ","app":{"name":" "},"self":"http://bugfender:8080/1"}]"#;
        let message = |name| serde_json::from_str::<Value>(&render(&Template::load(name).unwrap(), body).1).unwrap();
        let embed = &message("discord")["embeds"][0];
        assert_eq!(embed["title"], "Event: 7");
        let bare = render(&Template::load("discord").unwrap(), r#"[{"id":8,"type":"crash"}]"#).1;
        let bare: Value = serde_json::from_str(&bare).unwrap();
        assert_eq!(bare["embeds"][0]["title"], "💥 Crash: 8");
        assert!(bare["embeds"][0].get("description").is_none(), "{bare}");
        assert!(embed.get("url").is_none() && embed.get("description").is_none(), "{embed}");
        assert_eq!(embed["footer"]["text"], "bugfender");
        assert_eq!(message("slack")["blocks"].as_array().unwrap().len(), 1);
        let card = &message("teams")["attachments"][0]["content"];
        assert!(card["body"].as_array().unwrap().len() == 2 && card.get("actions").is_none(), "{card}");
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
        let declared = "{# content-type: application/json #}\n{\"t\": {{ title }}, \"a\": {{ app_id }}}";
        let template = Template::load(&file("declared.tmpl", declared)).unwrap();
        let (content_type, text) = render(&template, r#"[{"id":1,"title":"x\", \"channel\": \"general"}]"#);
        assert_eq!(
            (content_type.as_str(), text.trim()),
            ("application/json", r#"{"t": "x\", \"channel\": \"general", "a": null}"#)
        );
        let marked = Template::load(&file("marked.json", "\u{feff}{\"t\": {{ title }}}")).unwrap();
        assert_eq!(render(&marked, r#"[{"id":1,"title":"a\"b"}]"#).1, r#"{"t": "a\"b"}"#);
        // JSON that does not say so would let an event change its structure.
        for undeclared in [
            "{\"t\": {{ title }}}",
            "{\"t\": \"{{ title }}\"}",
            "[{{ title }}, {{ event }}]",
            "{% if type == 'apm' %}{\"t\": \"{{ title }}\"}{% else %}{{ title }}{% endif %}",
        ] {
            let error = Template::load(&file("named-anyhow.tmpl", undeclared)).err().unwrap();
            assert!(error.to_string().ends_with("makes JSON, but does not say so"), "{undeclared}: {error}");
        }
        assert!(Template::load(&file("brackets.txt", "[{{ type }}] {{ title }} [{{ id }}]")).is_ok());
        let template =
            Template::load(&file("nothing.txt", "<{{ title }}>{% if title is none %}none{% endif %}")).unwrap();
        assert_eq!(render(&template, r#"[{"id":1}]"#).1, "<>none");
        let long = "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}";
        let error = Template::load(&file("long.txt", long)).err().unwrap();
        assert!(error.to_string().contains("fuel"), "{error}");
        for (wrong, said) in [
            (r#"{"t": "{{ title }}"}"#, "does not make valid JSON of a crash"),
            (r#"{"t": {{ text|length }}}"#, "fails over an event with an id only"),
            (r#"{"t": 1{% if not event.device %},{% endif %} }"#, "does not make valid JSON of feedback"),
        ] {
            let error = Template::load(&file("wrong.json", wrong)).err().unwrap();
            assert!(error.to_string().contains(said), "{wrong}: {error}");
        }
        let endless = "{% for a in range(2000) %}{{ title * 1000 }}{% endfor %}";
        let error = Template::load(&file("endless.txt", endless)).err().unwrap();
        assert!(error.to_string().contains("fails over a crash"), "{error}");
        for (built, expected) in
            [("title|replace('b', '-')", "a-c"), ("[1, 2]|join(', ')", "1, 2"), ("'a\n b'|indent(2)", "a\n   b")]
        {
            let template = Template::load(&file("built.txt", &format!("{{{{ {built} }}}}"))).unwrap();
            assert_eq!(render(&template, r#"[{"id":1,"title":"abc"}]"#).1, expected);
        }
        for huge in [
            "('x' * 1000000)|replace('x', 'y' * 1000000)",
            "(range(1000) | list)|join('y' * 1000000)",
            "'a\nb'|indent(1000000000000)",
            "'a\nb'|indent(width=1000000000000)",
        ] {
            let error = Template::load(&file("huge.txt", &format!("{{{{ {huge} }}}}"))).err().unwrap();
            assert!(error.to_string().contains("longer than 16 MiB"), "{huge}: {error}");
        }
        assert!(Template::load(&file("bad.txt", "{{ oops")).is_err());
        assert!(Template::load(&file("worse.txt", "{{ title|nope }}")).is_err());
        assert!(Template::load("not-there").is_err());
    }
}

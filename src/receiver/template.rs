//! Templates that make messages: `MiniJinja`, with filters that escape by the rules of chat services.

mod filters;

use std::io;
use std::path::Path;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};

use crate::domain::without_bom;
use crate::error::{Error, ErrorKind, Result};

/// How many steps a template may take for a message: some milliseconds, so that it does not delay receiving.
const FUEL: u64 = 200_000;

/// The longest message, in bytes: more than any chat service accepts.
const MAX_MESSAGE: usize = 1024 * 1024;

/// The ends of the names of files that make JSON.
const JSON_FILES: [&str; 4] = [".json", ".json.j2", ".json.jinja", ".json.jinja2"];

/// The first line of a template that makes JSON, whatever its file is called.
const JSON_DECLARATION: &str = "{# content-type: application/json #}";

/// What messages are made of, which a template is checked with when it is loaded.
pub(super) struct TemplateKind {
    /// The built-in templates, by name.
    pub(super) built_in: [(&'static str, &'static str); 3],
    /// What it is, and the values that a template finds.
    pub(super) samples: fn() -> Vec<(&'static str, Value)>,
    /// What helps a template that fails over a sample.
    pub(super) hint: &'static str,
}

/// A compiled template.
#[derive(Clone)]
pub(super) struct MessageTemplate {
    environment: Environment<'static>,
    name: String,
    is_json: bool,
}

impl MessageTemplate {
    /// A built-in template, by its name, or that of a file.
    ///
    /// # Errors
    /// A usage error when it cannot be read, does not compile, or fails over a sample.
    pub(super) fn load(name: &str, kind: &TemplateKind) -> Result<Self> {
        if let Some((name, text)) = kind.built_in.into_iter().find(|(known, _)| *known == name) {
            return Self::compile(&format!("{name}.json"), text, kind);
        }
        let path = Path::new(name);
        let text = std::fs::read_to_string(path).map_err(|error| {
            let built_in = kind.built_in.map(|(name, _)| name).join(", ");
            Error::usage(format!("the template {name}: {error}"))
                .hint(format!("name a file, or one of the built-in templates: {built_in}"))
        })?;
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        Self::compile(&file_name, without_bom(&text), kind)
    }

    fn compile(name: &str, text: &str, kind: &TemplateKind) -> Result<Self> {
        let is_json =
            JSON_FILES.iter().any(|end| name.ends_with(end)) || text.trim_start().starts_with(JSON_DECLARATION);
        let template = Self::with_escaping(name, text, is_json)?;
        let as_json = if is_json { None } else { Some(Self::with_escaping(name, text, true)?) };
        for (what, sample) in (kind.samples)() {
            let is_json_after_all = as_json.as_ref().is_some_and(|json| json.makes_json(&sample));
            if is_json_after_all || !is_json && template.makes_json(&sample) {
                return Err(undeclared(name));
            }
            template.check(what, &sample, kind.hint)?;
        }
        Ok(template)
    }

    fn with_escaping(name: &str, text: &str, is_json: bool) -> Result<Self> {
        let mut environment = Environment::new();
        // Values are escaped as JSON, so that an event cannot change the message's structure.
        environment.set_auto_escape_callback(move |_| if is_json { AutoEscape::Json } else { AutoEscape::None });
        environment.set_fuel(Some(FUEL));
        // A missing field is undefined at any depth, as senders' events differ in shape.
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_formatter(|out, state, value| match state.auto_escape() {
            // In plain text, an undefined or null value is empty.
            AutoEscape::None if value.is_none() => Ok(()),
            _ => minijinja::escape_formatter(out, state, value),
        });
        filters::add_to(&mut environment);
        environment.add_template_owned(name.to_owned(), text.to_owned()).map_err(|error| {
            Error::usage(format!("the template {name}: {error:#}"))
                .hint("see https://docs.rs/minijinja for the language")
        })?;
        Ok(Self { environment, name: name.to_owned(), is_json })
    }

    /// Whether the message is an object or an array.
    fn makes_json(&self, values: &Value) -> bool {
        let is_json = |text: String| text.trim_start().starts_with(['{', '[']) && is_valid_json(&text);
        self.text(values).is_ok_and(is_json)
    }

    /// Checks the message for a sample.
    fn check(&self, what: &str, sample: &Value, hint: &'static str) -> Result<()> {
        let name = &self.name;
        let text = self
            .text(sample)
            .map_err(|error| Error::usage(format!("the template {name} fails over {what}: {error:#}")).hint(hint))?;
        if self.is_json && !is_valid_json(&text) {
            return Err(Error::usage(format!("the template {name} does not make valid JSON of {what}"))
                .hint("values are written as JSON: {{ title }}, without quotes around it"));
        }
        Ok(())
    }

    /// The message that is made of these values, and its media type.
    ///
    /// # Errors
    /// When the template fails over them.
    pub(super) fn render(&self, values: &Value) -> Result<(String, Vec<u8>)> {
        let failed =
            |error: String| Error::new(ErrorKind::Other, format!("the template {} failed: {error}", self.name));
        let text = self.text(values).map_err(|error| failed(format!("{error:#}")).source(error))?;
        if self.is_json && !is_valid_json(&text) {
            return Err(failed("it does not make valid JSON".to_owned()));
        }
        let content_type = if self.is_json { "application/json" } else { "text/plain; charset=utf-8" };
        Ok((content_type.to_owned(), text.into_bytes()))
    }

    fn text(&self, values: &Value) -> Result<String, minijinja::Error> {
        let mut message = BoundedMessage(Vec::new());
        self.environment.get_template(&self.name)?.render_captured_to(values, &mut message)?;
        // Templates write text.
        Ok(String::from_utf8(message.0).unwrap_or_default())
    }
}

fn undeclared(name: &str) -> Error {
    Error::usage(format!("the template {name} makes JSON, but does not say so")).hint(format!(
        "name the file *.json, or begin it with {JSON_DECLARATION}; a value such as {{{{ title }}}} is then a JSON string, with \
         its quotes"
    ))
}

fn is_valid_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// A message that does not grow without bound.
struct BoundedMessage(Vec<u8>);

impl io::Write for BoundedMessage {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_MESSAGE {
            return Err(io::Error::other("the message is longer than 1 MiB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Named targets in a file (TOML): `listen --config`.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use toml_edit::{Array, Document, Item, TableLike, Value};

use super::super::input::read_secret;
use super::super::units::{duration, event_type};
use crate::config::toml_text::{TomlText, nearest_key, shown_key, span_of};
use crate::domain::jq::JqFilter;
use crate::domain::{TargetUrl, without_bom};
use crate::error::{Error, Result};
use crate::http::{HeaderMap, HeaderName, HeaderValue};

/// The keys of a target.
const KEYS: [&str; 13] = [
    "name",
    "url",
    "url_file",
    "exec",
    "events",
    "filter",
    "template",
    "sign_with",
    "headers",
    "max_in_flight",
    "rate",
    "timeout",
    "max_age",
];

/// Headers that say what is in the body, how it is sent, and who signed it.
const OUR_HEADERS: [&str; 6] =
    ["content-type", "content-length", "content-encoding", "transfer-encoding", "connection", "host"];

/// Where a target is.
pub(super) enum Destination {
    Url(TargetUrl),
    /// A program and its arguments.
    Exec(Vec<String>),
}

/// A target as the file has it. What it does not say is as the flags say.
pub(super) struct TargetSpec {
    pub(super) name: String,
    pub(super) destination: Destination,
    pub(super) types: Vec<String>,
    pub(super) filter: Option<Arc<JqFilter>>,
    pub(super) template: Option<String>,
    pub(super) sign_with: Option<PathBuf>,
    pub(super) headers: HeaderMap,
    pub(super) max_in_flight: Option<usize>,
    pub(super) rate: Option<f64>,
    pub(super) timeout: Option<Duration>,
    pub(super) max_age: Option<SignedDuration>,
}

/// Reads the targets of a file.
///
/// # Errors
/// A usage error that names the line. It repeats no value, which may be a secret.
pub(super) fn read(path: &Path) -> Result<Vec<TargetSpec>> {
    let text = fs::read_to_string(path)
        .map_err(|error| Error::usage(format!("--config {}: {error}", path.display())).source(error))?;
    parse(without_bom(&text), path)
}

fn parse(text: &str, path: &Path) -> Result<Vec<TargetSpec>> {
    let place = TomlText { text, path };
    let document = Document::parse(text).map_err(|error| place.error(error.span(), error.message()))?;
    let (mut targets, mut names) = (Vec::new(), HashSet::new());
    for (key, item) in document.as_table() {
        if key != "target" {
            return Err(unknown_key(&place, document.as_table(), key, &["target"]));
        }
        let tables = item.as_array_of_tables();
        let tables = tables.ok_or_else(|| place.error(item.span(), "targets are written as [[target]]"))?;
        for table in tables {
            let target = target(table, &place)?;
            if !names.insert(target.name.clone()) {
                let message = format!("there are two targets with the name {}", target.name);
                return Err(place.error(span_of(table, "name"), &message));
            }
            targets.push(target);
        }
    }
    if targets.is_empty() {
        return Err(place.error(None, "there is no [[target]] in it"));
    }
    Ok(targets)
}

fn target(table: &toml_edit::Table, place: &TomlText) -> Result<TargetSpec> {
    for (key, _) in table {
        if !KEYS.contains(&key) {
            return Err(unknown_key(place, table, key, &KEYS));
        }
    }
    let fields = TargetFields { table, place };
    let name = fields.text("name")?;
    let name = name.filter(|name| is_name(name)).ok_or_else(|| {
        let what = "a target needs a `name` of up to 64 letters, digits, `-`, `_` and `.`";
        place.error(span_of(table, "name").or(table.span()), what)
    })?;
    let destination = fields.destination()?;
    let spec = TargetSpec {
        name: name.to_owned(),
        types: fields.types()?,
        filter: fields.filter()?,
        template: fields.template()?,
        sign_with: fields.path("sign_with")?,
        headers: fields.headers()?,
        max_in_flight: fields.max_in_flight()?,
        rate: fields.rate()?,
        timeout: fields.timeout()?,
        max_age: fields.duration("max_age")?,
        destination,
    };
    if matches!(spec.destination, Destination::Exec(_)) {
        for key in ["template", "sign_with", "headers"] {
            if table.contains_key(key) {
                return Err(
                    place.error(span_of(table, key), &format!("`{key}` is for endpoints, and this is a command"))
                );
            }
        }
    }
    Ok(spec)
}

/// Names stand in logs, metrics and on the command line.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

/// The fields of a target.
struct TargetFields<'a> {
    table: &'a toml_edit::Table,
    place: &'a TomlText<'a>,
}

impl TargetFields<'_> {
    fn wrong(&self, key: &str, what: &str) -> Error {
        self.place.error(span_of(self.table, key), &format!("`{key}` {what}"))
    }

    fn value(&self, key: &str, what: &str) -> Result<Option<&Value>> {
        let value = |item: &'_ Item| item.as_value().is_some();
        match self.table.get(key) {
            None => Ok(None),
            Some(item) if value(item) => Ok(item.as_value()),
            Some(_) => Err(self.wrong(key, what)),
        }
    }

    fn text(&self, key: &str) -> Result<Option<&str>> {
        let what = "must be a string";
        let value = self.value(key, what)?;
        value.map(|value| value.as_str().ok_or_else(|| self.wrong(key, what))).transpose()
    }

    /// A path, from the directory of the file.
    fn path(&self, key: &str) -> Result<Option<PathBuf>> {
        let path = self.text(key)?.filter(|path| !path.is_empty());
        if path.is_none() && self.table.contains_key(key) {
            return Err(self.wrong(key, "must not be empty"));
        }
        Ok(path.map(|path| self.place.dir().join(path)))
    }

    fn array(&self, key: &str) -> Result<Option<Vec<&str>>> {
        let what = "must be a list of strings";
        let Some(value) = self.value(key, what)? else { return Ok(None) };
        let texts = |array: &'_ Array| array.iter().all(Value::is_str);
        let array = value.as_array().filter(|array| texts(array)).ok_or_else(|| self.wrong(key, what))?;
        Ok(Some(array.iter().filter_map(Value::as_str).collect()))
    }

    fn destination(&self) -> Result<Destination> {
        let one = "a target needs one of `url`, `url_file` and `exec`";
        let (url, file, exec) = (self.text("url")?, self.path("url_file")?, self.array("exec")?);
        match (url, file, exec) {
            (Some(url), None, None) => Ok(Destination::Url(
                url.parse().map_err(|error: Error| self.wrong("url", &format!("is wrong: {error}")))?,
            )),
            (None, Some(path), None) => {
                let url = super::super::input::read_file(&path).and_then(|text| text.parse());
                Ok(Destination::Url(url.map_err(|error| self.wrong("url_file", &format!("is wrong: {error}")))?))
            }
            (None, None, Some(words)) => {
                let program = words.first().filter(|program| !program.is_empty());
                let program = program.ok_or_else(|| self.wrong("exec", "must name a program"))?;
                // One without a slash is looked for in PATH.
                let program = if program.contains('/') {
                    self.place.dir().join(program).to_string_lossy().into_owned()
                } else {
                    (*program).to_owned()
                };
                let arguments = words.iter().skip(1).map(|word| (*word).to_owned());
                Ok(Destination::Exec(std::iter::once(program).chain(arguments).collect()))
            }
            (None, None, None) => Err(self.place.error(self.table.span(), one)),
            _ => Err(self.place.error(self.table.span(), &format!("{one}, and this has several"))),
        }
    }

    fn types(&self) -> Result<Vec<String>> {
        let Some(events) = self.array("events")? else { return Ok(Vec::new()) };
        if events.is_empty() {
            return Err(self.wrong("events", "must name an event type; without it, all events are forwarded"));
        }
        events.into_iter().map(|event| event_type(event).map_err(|wrong| self.wrong("events", &wrong))).collect()
    }

    /// A jq expression over an event.
    fn filter(&self) -> Result<Option<Arc<JqFilter>>> {
        let compile =
            |text| JqFilter::compile(text).map_err(|error| self.wrong("filter", &format!("is wrong: {error}")));
        Ok(self.text("filter")?.map(compile).transpose()?.map(Arc::new))
    }

    /// A built-in template, or the path of one.
    fn template(&self) -> Result<Option<String>> {
        let is_built_in = |name: &str| crate::receiver::BUILT_IN_TEMPLATES.iter().any(|(known, _)| *known == name);
        Ok(self.text("template")?.map(|name| {
            if is_built_in(name) { name.to_owned() } else { self.place.dir().join(name).to_string_lossy().into_owned() }
        }))
    }

    fn headers(&self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        let Some(item) = self.table.get("headers") else { return Ok(headers) };
        let table = item.as_table_like().ok_or_else(|| self.wrong("headers", "must be a table"))?;
        for (name, item) in table.iter() {
            let wrong = |what: &str| self.place.error(span_of(table, name), &format!("`headers`: {what}"));
            let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("this is not a header's name"))?;
            if OUR_HEADERS.contains(&parsed.as_str()) || parsed.as_str().starts_with("webhook-") {
                return Err(wrong(&format!("{parsed} is set by bugfender-hooks itself")));
            }
            let file = || item.as_table_like().filter(|table| table.len() == 1)?.get("file")?.as_str();
            let value = match (item.as_str(), file()) {
                (Some(text), _) => text.to_owned(),
                (None, Some(path)) => {
                    let secret = read_secret("the header", &self.place.dir().join(path));
                    secret.map_err(|error| wrong(&error.to_string()))?.expose().to_owned()
                }
                _ => return Err(wrong("a value must be a string, or { file = \"…\" }")),
            };
            let value = HeaderValue::from_str(&value).map_err(|_| wrong("this value cannot stand in a header"))?;
            headers.append(parsed, sensitive(value));
        }
        Ok(headers)
    }

    fn max_in_flight(&self) -> Result<Option<usize>> {
        let what = "must be a number from 1 to 1000";
        let value = self.value("max_in_flight", what)?;
        let number = |value: &Value| value.as_integer().filter(|number| (1..=1000).contains(number));
        let wrong = || self.wrong("max_in_flight", what);
        value.map(|value| number(value).and_then(|number| usize::try_from(number).ok()).ok_or_else(wrong)).transpose()
    }

    /// Events a second.
    fn rate(&self) -> Result<Option<f64>> {
        let what = "must be a number of events a second, from 0.001 to 100000";
        let number = self.value("rate", what)?.map(|value| number(value).ok_or_else(|| self.wrong("rate", what)));
        let fits = |rate: &f64| (0.001..=100_000.0).contains(rate);
        number.transpose()?.map(|rate| Some(rate).filter(fits).ok_or_else(|| self.wrong("rate", what))).transpose()
    }

    fn timeout(&self) -> Result<Option<Duration>> {
        let what = "must be seconds, or a duration such as 30s, and at most a day";
        let seconds = self.value("timeout", what)?.and_then(number);
        let time = match seconds {
            Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            None => self.duration("timeout")?.and_then(|time| Duration::try_from(time).ok()),
        };
        let fits = |time: &Duration| !time.is_zero() && *time <= Duration::from_secs(24 * 3600);
        if self.table.contains_key("timeout") && !time.as_ref().is_some_and(fits) {
            return Err(self.wrong("timeout", what));
        }
        Ok(time)
    }

    fn duration(&self, key: &str) -> Result<Option<SignedDuration>> {
        self.text(key)?
            .map(|text| duration(text).map_err(|wrong| self.wrong(key, &format!("is wrong: {wrong}"))))
            .transpose()
    }
}

fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

fn number(value: &Value) -> Option<f64> {
    // What a float cannot hold exactly is out of every range here.
    #[allow(clippy::cast_precision_loss)]
    value.as_float().or_else(|| value.as_integer().map(|number| number as f64))
}

/// The error of a key that is not known, with the nearest that is.
fn unknown_key(place: &TomlText, table: &dyn TableLike, key: &str, known: &[&str]) -> Error {
    let error = place.error(span_of(table, key), &format!("unknown key `{}`", shown_key(key)));
    match nearest_key(key, known.iter().copied()) {
        Some(nearest) => error.hint(format!("did you mean `{nearest}`?")),
        None => error.hint(format!("the keys are {}", known.join(", "))),
    }
}

#[cfg(test)]
mod tests;

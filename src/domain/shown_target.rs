//! What may be shown of a target's URL, and what has to be hidden in texts about it.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::Url;

use super::TargetUrl;

/// What may be shown of a target's URL: scheme, host and port. The rest of it is often a secret, as that of chat services is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownTarget(String);

impl ShownTarget {
    /// Of this URL.
    pub fn of(url: &Url) -> Self {
        Self(url.origin().ascii_serialization())
    }
}

impl fmt::Display for ShownTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What may be shown of an endpoint that may be a secret: where it is, and whether there is more.
pub fn shown_endpoint(target: &TargetUrl) -> String {
    let Ok(url) = Url::parse(target.expose()) else { return "…".to_owned() };
    let rest = if url.path().len() > 1 || url.query().is_some() { "/…" } else { "/" };
    format!("{}{rest}", ShownTarget::of(&url))
}

/// As many characters as make a segment of a path a likely key.
const LONG: usize = 12;

/// Shorter texts stand in ordinary words: to hide them would garble what is quoted.
const SHORTEST: usize = 4;

/// What an endpoint's answer must not be quoted with, as it stands in its URL and decoded, the longest first: user name and
/// password, as in the header that they are sent in too, the values of the query, and the segments of the path that may be
/// keys.
pub fn secrets_in(url: &Url) -> Vec<String> {
    let segments = url.path_segments().into_iter().flatten().filter(|segment| !segment.is_empty());
    let last = segments.clone().next_back();
    let keys = segments.filter(|segment| segment.len() >= LONG || Some(*segment) == last);
    in_all_forms(secrets_beside(url).chain(keys.map(str::to_owned)).collect())
}

/// What a target's answer must not be stored with: all of its URL but what [`ShownTarget`] shows, and these secrets. The
/// longest first.
pub fn secrets_of_target<'a>(url: &Url, others: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut found: Vec<String> = secrets_beside(url).collect();
    found.extend([url.path(), url.path().trim_matches('/'), url.query().unwrap_or_default()].map(str::to_owned));
    found.extend(url.path_segments().into_iter().flatten().map(str::to_owned));
    found.extend(others.map(str::to_owned));
    let mut secrets = in_all_forms(found);
    secrets.retain(|secret| secret.len() >= SHORTEST);
    secrets
}

/// What texts about a target must not repeat if all of it is a secret: the URL, and the parts of it that may be keys. The
/// longest first.
pub fn texts_of(target: &TargetUrl) -> Vec<String> {
    let parts = Url::parse(target.expose()).map(|url| secrets_in(&url)).unwrap_or_default();
    [target.expose().to_owned(), target.redacted().into_owned()].into_iter().chain(parts).collect()
}

/// User name, password and the values of the query.
fn secrets_beside(url: &Url) -> impl Iterator<Item = String> + use<> {
    let (user, password) = (url.username(), url.password().unwrap_or_default());
    let mut found = vec![if password.is_empty() { user } else { password }.to_owned()];
    if !(user.is_empty() && password.is_empty()) {
        found.push(BASE64_STANDARD.encode(format!("{}:{}", decoded(user), decoded(password))));
    }
    let pairs = url.query().unwrap_or_default().split('&');
    found.extend(pairs.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value).to_owned()));
    found.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
    found.into_iter()
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// As they stand there, decoded, and within JSON.
fn in_all_forms(mut found: Vec<String>) -> Vec<String> {
    found.extend(found.clone().iter().map(|text| decoded(text)));
    found.extend(found.clone().into_iter().map(in_json));
    found.retain(|text| !text.is_empty());
    // A part of one that was hidden would leave the rest.
    found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    found.dedup();
    found
}

/// As it stands in JSON that is quoted.
pub fn in_json(text: String) -> String {
    Value::String(text).to_string().trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_of_a_target_is_shown_than_where_it_is() {
        for (url, shown) in [
            ("https://u:pw@hooks.example.com/services/T0/B0?token=x", "https://hooks.example.com"),
            ("http://[::1]:8080/x", "http://[::1]:8080"),
        ] {
            assert_eq!(ShownTarget::of(&url.parse().unwrap()).to_string(), shown);
        }
    }

    #[test]
    fn all_of_a_target_is_hidden_but_where_it_is() {
        let url = "https://ci:pa%22ss@hooks.example.com/hook/s3cr/ab?token=t0ken".parse().unwrap();
        let hide = |text: &str| {
            let secrets = secrets_of_target(&url, ["whsec_x"].into_iter());
            secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "*"))
        };
        let said =
            hide("POST /hook/s3cr/ab?token=t0ken of ci:pa%22ss, pa\"ss, \"pa\\\"ss\", s3cr, t0ken, whsec_x; in a cab");
        assert_eq!(said, "POST *?* of ci:*, *, \"*\", *, *, *; in a cab");
    }
}

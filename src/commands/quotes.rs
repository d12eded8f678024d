//! Quotes from an endpoint's responses, without secrets.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::Url;

use crate::domain::Secret;
use crate::http::HttpResponse;

/// Quotes from the answers of an endpoint.
pub struct Quotes {
    secrets: Vec<String>,
}

impl Quotes {
    /// Of the endpoint at this URL, to which calls may be signed with this secret.
    pub fn of(url: &Url, secret: Option<&Secret>) -> Self {
        let mut secrets = secrets_in(url);
        secrets.extend(secret.map(|secret| secret.expose().to_owned()));
        secrets.extend(secrets.clone().into_iter().map(in_json));
        // The longest first: a part of one that was hidden would leave the rest.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// What an answer says, quoted short.
    pub fn quote(&self, answer: &HttpResponse) -> Option<String> {
        let secrets: Vec<&str> = self.secrets.iter().map(String::as_str).collect();
        answer.quote(&secrets)
    }
}

/// What of a URL a receiver must not be quoted with, as it stands there and decoded: user name and password, as in the
/// header that they are sent in too, the values of the query, and the segments of the path that may be keys.
fn secrets_in(url: &Url) -> Vec<String> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = (url.username(), url.password().unwrap_or_default());
    let mut found = vec![if password.is_empty() { user } else { password }.to_owned()];
    if !(user.is_empty() && password.is_empty()) {
        found.push(BASE64_STANDARD.encode(format!("{}:{}", decoded(user), decoded(password))));
    }
    let pairs = url.query().unwrap_or_default().split('&');
    found.extend(pairs.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value).to_owned()));
    found.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
    let segments = url.path_segments().into_iter().flatten().filter(|segment| !segment.is_empty());
    let last = segments.clone().next_back();
    found.extend(segments.filter(|segment| segment.len() >= LONG || Some(*segment) == last).map(str::to_owned));
    let plain: Vec<String> = found.iter().map(|text| decoded(text)).collect();
    found.extend(plain);
    found.retain(|text| !text.is_empty());
    found
}

/// As many characters as make a segment of a path a likely key.
const LONG: usize = 12;

/// As it stands in JSON that is quoted.
fn in_json(text: String) -> String {
    Value::String(text).to_string().trim_matches('"').to_owned()
}

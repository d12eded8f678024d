//! Quotes from an endpoint's responses, without secrets.

use url::Url;

use crate::domain::{Secret, in_json, secrets_in};
use crate::http::HttpResponse;

/// Quotes from the answers of an endpoint.
pub struct Quotes {
    secrets: Vec<String>,
}

impl Quotes {
    /// Of the endpoint at this URL, to which calls may be signed with this secret.
    pub fn of(url: &Url, secret: Option<&Secret>) -> Self {
        let mut secrets = secrets_in(url);
        let secret = secret.map(|secret| secret.expose().to_owned());
        secrets.extend(secret.clone());
        secrets.extend(secret.map(in_json));
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

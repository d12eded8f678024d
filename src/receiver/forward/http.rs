//! Handing on to an endpoint, signed as the Standard Webhooks specification says.

use hyper::header::HeaderValue;
use jiff::Timestamp;
use url::Url;

use super::target::{Trouble, Verdict};
use super::template::Template;
use crate::domain::Secret;
use crate::domain::event::EventFacts;
use crate::domain::signature::standard_headers;
use crate::error::{Error, Result};
use crate::http::{Answer, Body, Client, Method, Payload, Repeat, Request, StatusCode};
use crate::store::Forward;

/// What the body is when its sender did not say.
const JSON: &str = "application/json";

/// An endpoint.
pub struct HttpTarget {
    client: Client,
    url: Url,
    template: Option<Template>,
    secret: Option<Secret>,
}

impl HttpTarget {
    /// An endpoint at `url`. With a template it gets a message for each event, else the events themselves.
    ///
    /// # Errors
    /// A usage error for a secret that is not one of the Standard Webhooks specification.
    pub fn new(client: Client, url: Url, template: Option<Template>, secret: Option<Secret>) -> Result<Self> {
        // What is wrong with a secret is said before anything is sent.
        standard_headers("evt_", Timestamp::UNIX_EPOCH, secret.as_ref(), b"")?;
        Ok(Self { client, url, template, secret })
    }

    pub(super) fn is_for_one_event(&self) -> bool {
        self.template.is_some()
    }

    pub(super) async fn deliver(&self, forward: &Forward) -> Verdict {
        match self.request(forward) {
            Ok(request) => judge(self.client.send(&request, None).await),
            Err(error) => Verdict::Failed { error: error.to_string(), trouble: Trouble::OfTheEvent },
        }
    }

    fn request(&self, forward: &Forward) -> Result<Request> {
        let (content_type, bytes) = match (&self.template, forward.events.first()) {
            (Some(template), Some(event)) => template.render(forward, event)?,
            _ => (content_type(forward), forward.json_array()),
        };
        let id = message_id(&forward.events);
        let headers = standard_headers(&id, Timestamp::now(), self.secret.as_ref(), &bytes)?;
        Ok(Request {
            method: Method::POST,
            url: self.url.clone(),
            body: Some(Body::Bytes(Payload { content_type: content_type.into(), headers, bytes })),
            // The inbox knows when to try again, and does so after a crash too.
            repeat: Repeat::Never,
        })
    }
}

/// What the sender said the body is. What no header can hold is not passed on: the request would fail at every attempt,
/// and look as if the target were not there.
fn content_type(forward: &Forward) -> String {
    let fits = |kind: &&String| !kind.is_empty() && HeaderValue::from_str(kind).is_ok();
    forward.content_type.as_ref().filter(fits).map_or_else(|| JSON.to_owned(), Clone::clone)
}

/// The `webhook-id` of these events together: the same at each attempt.
fn message_id(events: &[EventFacts]) -> String {
    match events {
        [] => String::new(),
        [event] => event.key.message_id(),
        [first, ..] => format!("{}-{}", first.key.message_id(), events.len()),
    }
}

fn judge(outcome: std::result::Result<Answer, crate::http::Failure>) -> Verdict {
    let failed = |error: Error, trouble| Verdict::Failed { error: error.to_string(), trouble };
    let answer = match outcome {
        Ok(answer) if answer.status.is_success() => return Verdict::Taken,
        Ok(answer) => answer,
        // A redirect that is not followed is an answer; a certificate that is not trusted is none.
        Err(failure) => {
            let answered = failure.error.http_status().is_some();
            let trouble = if answered { Trouble::OfTheEvent } else { Trouble::Sick { pause: None, reached: false } };
            return failed(failure.error, trouble);
        }
    };
    let error = Error::usage(format!("HTTP {}", answer.status.as_u16()));
    match answer.status {
        StatusCode::GONE => failed(error, Trouble::Gone),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            failed(error, Trouble::Sick { pause: answer.retry_after, reached: true })
        }
        status if status.is_server_error() => failed(error, Trouble::Sick { pause: answer.retry_after, reached: true }),
        _ => failed(error, Trouble::OfTheEvent),
    }
}

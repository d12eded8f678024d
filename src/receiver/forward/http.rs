//! Forwarding to an endpoint, signed per the Standard Webhooks specification.

use hyper::header::HeaderValue;
use jiff::Timestamp;
use url::Url;

use super::response::{FailureScope, TargetResponse};
use super::template::Template;
use crate::domain::Secret;
use crate::domain::event::EventFacts;
use crate::domain::signature::standard_headers;
use crate::error::{Error, Result};
use crate::http::{Client, HttpResponse, Method, Payload, Repeat, Request, RequestBody, StatusCode};
use crate::store::Forward;

/// The media type if the sender declared none.
const JSON: &str = "application/json";

/// An endpoint.
pub struct HttpTarget {
    client: Client,
    url: Url,
    template: Option<Template>,
    secret: Option<Secret>,
}

impl HttpTarget {
    /// An endpoint at `url`. With a template it is sent a message for each event, else the events themselves.
    ///
    /// # Errors
    /// A usage error for a secret that is not one of the Standard Webhooks specification.
    pub fn new(client: Client, url: Url, template: Option<Template>, secret: Option<Secret>) -> Result<Self> {
        // A wrong secret is an error before anything is sent.
        standard_headers("evt_", Timestamp::UNIX_EPOCH, secret.as_ref(), b"")?;
        Ok(Self { client, url, template, secret })
    }

    pub(super) fn is_for_one_event(&self) -> bool {
        self.template.is_some()
    }

    pub(super) async fn deliver(&self, forward: &Forward) -> TargetResponse {
        match self.request(forward) {
            Ok(request) => judge(self.client.send(&request, None).await),
            Err(error) => TargetResponse::Failed { error: error.to_string(), scope: FailureScope::Event },
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
            body: Some(RequestBody::Bytes(Payload { content_type: content_type.into(), headers, bytes })),
            // No retry here: the queue schedules them, and survives a crash.
            repeat: Repeat::Never,
        })
    }
}

/// The declared media type. One that is no valid header value is left out: every attempt would fail as if the target
/// were unavailable.
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

fn judge(outcome: std::result::Result<HttpResponse, crate::http::Failure>) -> TargetResponse {
    let failed = |error: Error, scope| TargetResponse::Failed { error: error.to_string(), scope };
    let answer = match outcome {
        Ok(answer) if answer.status.is_success() => {
            return TargetResponse::Accepted { status: Some(answer.status.as_u16()) };
        }
        Ok(answer) => answer,
        // A redirect that is not followed is a response; an untrusted certificate means that there was none.
        Err(failure) => {
            let answered = failure.error.http_status().is_some();
            let scope =
                if answered { FailureScope::Event } else { FailureScope::Target { pause: None, reached: false } };
            return failed(failure.error, scope);
        }
    };
    let error = Error::usage(format!("HTTP {}", answer.status.as_u16()));
    match answer.status {
        StatusCode::GONE => failed(error, FailureScope::Gone),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            failed(error, FailureScope::Target { pause: answer.retry_after, reached: true })
        }
        status if status.is_server_error() => {
            failed(error, FailureScope::Target { pause: answer.retry_after, reached: true })
        }
        _ => failed(error, FailureScope::Event),
    }
}

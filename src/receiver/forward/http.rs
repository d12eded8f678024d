//! Forwarding to an endpoint, signed per the Standard Webhooks specification.

use hyper::header::HeaderValue;
use jiff::Timestamp;
use url::Url;

use super::response::{FailureScope, TargetAnswer, TargetResponse};
use super::template::Template;
use crate::domain::event::EventFacts;
use crate::domain::signature::standard_headers;
use crate::domain::{Secret, secrets_of_target};
use crate::error::{Error, Result};
use crate::http::{Client, HeaderMap, HttpResponse, Method, Payload, Repeat, Request, RequestBody, StatusCode};
use crate::store::{Forward, KEPT_OF_ANSWER};

/// The media type if the sender declared none.
const JSON: &str = "application/json";

/// How much of an answer is looked at for secrets.
const LOOKED_AT: usize = 16 * KEPT_OF_ANSWER;

/// An endpoint.
pub struct HttpTarget {
    client: Client,
    url: Url,
    template: Option<Template>,
    secret: Option<Secret>,
    /// What is hidden in its answers.
    hidden: Vec<String>,
}

impl HttpTarget {
    /// An endpoint at `url`. With a template it is sent a message for each event, else the events themselves. These headers
    /// are sent along.
    ///
    /// # Errors
    /// A usage error for a secret that is not one of the Standard Webhooks specification.
    pub fn new(
        client: Client,
        url: Url,
        template: Option<Template>,
        secret: Option<Secret>,
        headers: HeaderMap,
    ) -> Result<Self> {
        // A wrong secret is an error before anything is sent.
        standard_headers("evt_", Timestamp::UNIX_EPOCH, secret.as_ref(), b"")?;
        let values = headers.values().filter_map(|value| value.to_str().ok());
        let hidden = secrets_of_target(&url, values.chain(secret.as_ref().map(Secret::expose)));
        Ok(Self { client: client.with_headers(headers), url, template, secret, hidden })
    }

    pub(super) fn is_for_one_event(&self) -> bool {
        self.template.is_some()
    }

    pub(super) async fn deliver(&self, forward: &Forward) -> TargetAnswer {
        let request = match self.request(forward) {
            Ok(request) => request,
            Err(error) => {
                return TargetResponse::Failed { error: error.to_string(), scope: FailureScope::Event }.into();
            }
        };
        let outcome = self.client.send(&request, None).await;
        let (status, answer) = match &outcome {
            Ok(answer) => (Some(answer.status.as_u16()), self.kept_of(answer)),
            Err(failure) => (failure.error.http_status(), Vec::new()),
        };
        TargetAnswer { outcome: judge(outcome), status, answer }
    }

    /// The beginning of an answer, without what is secret of this target.
    fn kept_of(&self, answer: &HttpResponse) -> Vec<u8> {
        let body = answer.body.as_deref().unwrap_or_default();
        // More than is kept: a secret that the end would cut in two is hidden as a whole.
        let text = String::from_utf8_lossy(body.get(..LOOKED_AT).unwrap_or(body));
        let hide = |text: String, secret: &String| text.replace(secret.as_str(), "****");
        let mut kept = self.hidden.iter().fold(text.into_owned(), hide).into_bytes();
        kept.truncate(KEPT_OF_ANSWER);
        kept
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
        Ok(answer) if answer.status.is_success() => return TargetResponse::Accepted,
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

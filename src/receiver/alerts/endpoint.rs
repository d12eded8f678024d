//! Where alerts are sent.

use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use super::board::{AlertMessage, Telling};
use super::message::AlertTemplate;
use crate::domain::ShownTarget;
use crate::domain::signature::standard_headers;
use crate::error::Result;
use crate::http::{CarriedOut, Client, Method, Payload, Repeat, Request, RequestBody};
use crate::platform;

/// An endpoint for alerts. Its URL is a secret, as those of chat services are.
pub struct AlertEndpoint {
    client: Client,
    url: Url,
    template: Option<AlertTemplate>,
    /// The name of this host, which alerts say.
    receiver: Option<String>,
}

/// The outcome of an attempt to send an alert.
pub(super) struct AlertAnswer {
    pub(super) telling: Telling,
    /// Why it was not taken.
    pub(super) error: Option<String>,
    /// The wait that the endpoint asked for.
    pub(super) pause: Option<Duration>,
}

impl AlertEndpoint {
    /// An endpoint at `url`. It is sent what the template makes of an alert, or else JSON of this project's own.
    pub fn new(client: Client, url: Url, template: Option<AlertTemplate>) -> Self {
        Self { client, url, template, receiver: platform::host_name() }
    }

    /// Its name for people, without secrets.
    pub(super) fn shown(&self) -> ShownTarget {
        ShownTarget::of(&self.url)
    }

    pub(super) async fn send(&self, message: &AlertMessage) -> AlertAnswer {
        let failed = |telling, error, pause| AlertAnswer { telling, error: Some(error), pause };
        let request = match self.request(message) {
            Ok(request) => request,
            Err(error) => return failed(Telling::NotTold, error.to_string(), None),
        };
        match self.client.send(&request, None).await {
            Ok(answer) if answer.status.is_success() => {
                AlertAnswer { telling: Telling::Told, error: None, pause: None }
            }
            Ok(answer) => failed(Telling::NotTold, format!("HTTP {}", answer.status.as_u16()), answer.retry_after),
            Err(failure) => {
                let is_in_doubt = failure.carried_out == CarriedOut::Maybe && failure.error.http_status().is_none();
                let telling = if is_in_doubt { Telling::InDoubt } else { Telling::NotTold };
                failed(telling, failure.error.to_string(), None)
            }
        }
    }

    fn request(&self, message: &AlertMessage) -> Result<Request> {
        let receiver = self.receiver.as_deref();
        let (content_type, bytes) = message.body(self.template.as_ref(), receiver)?;
        let headers = standard_headers(&message.id(receiver), Timestamp::now(), None, &bytes)?;
        Ok(Request {
            method: Method::POST,
            url: self.url.clone(),
            body: Some(RequestBody::Bytes(Payload { content_type: content_type.into(), headers, bytes })),
            // What is to be told may have changed until the next attempt.
            repeat: Repeat::Never,
        })
    }
}

//! One request to the public URL, and what its answer says.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use super::state::{GENERAL_ADVICE, SelfCheckFailure};
use crate::domain::{SELF_CHECK_HEADER, SelfCheckKeys, SelfCheckNonce, ShownTarget};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{
    Client, ClientOptions, HttpResponse, Method, Payload, Peer, Repeat, Request, RequestBody, Roots, StatusCode,
};

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where the receiver is reached from outside.
#[derive(Debug, Clone)]
pub(super) struct PublicEntrance {
    /// The URL that a segment is added to.
    url: Url,
    client: ClientOptions,
}

impl PublicEntrance {
    /// The entrance at this URL, the path of which ends with a slash.
    ///
    /// The proxy variables count as for every request of this tool: where a proxy is the only way out, a check that went
    /// without it would fail for ever, and an answer with the proof came from a receiver whatever way it took.
    ///
    /// # Errors
    /// A usage error when the certificate authorities cannot be loaded, or a proxy variable is malformed.
    pub(super) fn new(url: Url, is_loopback: bool, roots: Roots) -> Result<Self> {
        let client = ClientOptions {
            attempt_timeout: TIMEOUT,
            total_timeout: None,
            tls: url.scheme() == "https",
            proxy: !is_loopback,
            loopback_only: false,
            roots,
            peer: Peer::PublicUrl,
        };
        Client::new(client.clone())?;
        Ok(Self { url, client })
    }

    /// Whether a receiver with these keys is reached.
    pub(super) async fn check(&self, keys: &SelfCheckKeys) -> Result<(), SelfCheckFailure> {
        let nonce = SelfCheckNonce::new().map_err(|error| SelfCheckFailure::from(&error))?;
        let request = self.request(&nonce, keys).map_err(|error| SelfCheckFailure::from(&error))?;
        let client = self.client().await.map_err(|error| SelfCheckFailure::from(&error))?;
        match client.send(&request, None).await {
            Ok(answer) if is_answer(&answer, &nonce, keys) => Ok(()),
            Ok(answer) => Err(self.refusal(answer.status)),
            Err(failure) => Err(SelfCheckFailure::from(&failure.error)),
        }
    }

    /// A new client each time: an open connection would hide that the name or the certificate is not valid any more.
    async fn client(&self) -> Result<Client> {
        let options = self.client.clone();
        // Certificate authorities are read from files.
        let client = tokio::task::spawn_blocking(move || Client::new(options)).await;
        client.map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?
    }

    /// A request as Bugfender's are: what stands before the receiver may look at method, path and media type.
    fn request(&self, nonce: &SelfCheckNonce, keys: &SelfCheckKeys) -> Result<Request> {
        let url = self.url.join(&nonce.segment()).map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?;
        let headers = vec![(SELF_CHECK_HEADER, keys.sign_request(nonce, Timestamp::now()))];
        let payload = Payload { content_type: "application/json".into(), headers, bytes: b"[]".to_vec() };
        let body = Some(RequestBody::Bytes(payload));
        Ok(Request { method: Method::POST, url, body, repeat: Repeat::Never })
    }

    /// The failure for an answer that no receiver with these keys gave.
    fn refusal(&self, status: StatusCode) -> SelfCheckFailure {
        let (shown, code) = (ShownTarget::of(&self.url), status.as_u16());
        if status.is_success() {
            return SelfCheckFailure::new(
                format!("{shown}: something else answered in the receiver's place (HTTP {code})"),
                "check --public-url, and what the proxy or tunnel does with paths below /bugfender/",
            );
        }
        let advice = match code {
            404 | 405 => "let the proxy or tunnel pass on paths below /bugfender/ to this receiver",
            401 | 403 => "let the proxy or tunnel accept requests without a sign-in",
            429 => "let the proxy or tunnel accept more requests",
            500.. => "check that the proxy or tunnel forwards to the address that this receiver listens on",
            _ => GENERAL_ADVICE,
        };
        SelfCheckFailure::new(format!("{shown}: HTTP {code} instead of the answer of the receiver"), advice)
    }
}

/// Whether an answer proves that a receiver with these keys gave it.
fn is_answer(answer: &HttpResponse, nonce: &SelfCheckNonce, keys: &SelfCheckKeys) -> bool {
    let body = answer.body.as_deref().ok().and_then(|body| serde_json::from_slice::<Value>(body).ok());
    let proof = body.as_ref().and_then(|body| body["self_check"].as_str());
    answer.status == StatusCode::OK && proof.is_some_and(|proof| keys.is_answer(nonce, proof, Timestamp::now()))
}

//! The Bugfender API: its requests, and what its responses mean.

pub mod calls;
mod issues;
mod status;
mod wire;

use std::cell::Cell;
use std::fmt;

use futures_util::future::LocalBoxFuture;

pub use self::calls::{GroupQuery, IssuePageQuery};
pub use self::issues::{GroupSummary, IssuePage, PageFailure};
pub use self::wire::{Account, App, Apps, Team};
pub use crate::http::{CarriedOut, Failure};

use crate::domain::{AccessToken, ApiOrigin, HookId, Subscription};
use crate::error::Error;
use crate::http::{Client, ClientOptions, HttpResponse, Request, StatusCode};

/// Provides the access tokens for requests.
pub trait TokenProvider: fmt::Debug + Send {
    /// The current token, renewed if necessary.
    fn token(&self) -> LocalBoxFuture<'_, Result<AccessToken, Error>>;

    /// A replacement for `rejected`, which the server answered with `status`; `None` if there is none.
    fn replace<'a>(
        &'a self,
        rejected: &'a AccessToken,
        status: StatusCode,
    ) -> LocalBoxFuture<'a, Result<Option<AccessToken>, Error>>;
}

/// A client that authenticates its requests. There is no other way to use the API.
#[derive(Debug)]
pub struct AuthenticatedApi {
    client: Client,
    origin: ApiOrigin,
    tokens: Box<dyn TokenProvider>,
    /// Whether a renewed token was rejected too, so that renewing again is useless.
    renewal_is_useless: Cell<bool>,
}

/// A response, and the token that was sent with the request.
struct AuthenticatedResponse {
    response: HttpResponse,
    token: AccessToken,
}

/// The outcome of a successful unsubscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsubscribed {
    /// The server removed the hook, now or in an earlier attempt whose response was lost.
    Removed,
    /// The hook does not exist (HTTP 404).
    NotThere,
}

impl AuthenticatedApi {
    /// A client for one installation; opens no connection.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(origin: ApiOrigin, tokens: Box<dyn TokenProvider>, options: ClientOptions) -> Result<Self, Error> {
        Ok(Self { client: Client::new(options)?, origin, tokens, renewal_is_useless: Cell::new(false) })
    }

    /// The same, which reads responses of up to so many bytes.
    #[must_use]
    pub fn with_max_body(self, bytes: usize) -> Self {
        Self { client: self.client.with_max_body(bytes), ..self }
    }

    /// Whether a request that was cancelled may have been carried out. Only valid with one request at a time.
    pub fn may_have_been_carried_out(&self) -> bool {
        self.client.is_in_doubt()
    }

    /// Whether a connection has been established; before that, nothing can have been sent.
    pub fn has_connected(&self) -> bool {
        self.client.has_connected()
    }

    /// Renews the token if necessary, before anything depends on it.
    ///
    /// # Errors
    /// When the renewal fails.
    pub async fn sign_in(&self) -> Result<(), Error> {
        self.tokens.token().await.map(|_| ())
    }

    /// Subscribes. The request is retried only if it was certainly not carried out.
    ///
    /// # Errors
    /// `carried_out: Maybe` when a hook with an unknown id may exist: after no response, a 2xx without a readable id,
    /// a 303, or a 5xx other than 503.
    pub async fn subscribe(&self, subscription: &Subscription) -> Result<HookId, Failure> {
        let doing = format!("could not subscribe to {subscription}");
        let AuthenticatedResponse { response, token } = self.send(&calls::subscribe(subscription), &doing).await?;
        if !response.status.is_success() {
            let target = &subscription.target_url;
            let password = target.password();
            let secrets = [
                token.expose(),
                password.as_deref().map_or("", |_| target.expose()),
                password.as_deref().unwrap_or(""),
            ];
            return Err(status::failure(&doing, &response, Effect::Creates, &secrets));
        }
        wire::created_hook(&response).map_err(|problem| status::unreadable(&doing, &response, &problem))
    }

    /// Unsubscribes; retried after transient failures.
    ///
    /// # Errors
    /// `carried_out: Maybe` when it is unknown whether the hook still exists.
    pub async fn unsubscribe(&self, hook: HookId) -> Result<Unsubscribed, Failure> {
        let doing = format!("could not unsubscribe hook {hook}");
        let AuthenticatedResponse { response, token } =
            self.send(&calls::unsubscribe(&self.origin, hook), &doing).await?;
        match response.status.as_u16() {
            200..=299 if response.is_html() => Err(status::web_page(&doing, &response)),
            200..=299 => Ok(Unsubscribed::Removed),
            // An earlier attempt may have removed it before its response was lost.
            404 if response.carried_out == CarriedOut::Maybe => Ok(Unsubscribed::Removed),
            404 => Ok(Unsubscribed::NotThere),
            _ => Err(status::failure(&doing, &response, Effect::Removes, &[token.expose()])),
        }
    }

    /// The account that the token belongs to. Success means that the API works and accepts the token.
    ///
    /// # Errors
    /// According to the status of the response.
    pub async fn me(&self) -> Result<Account, Failure> {
        self.read(&calls::me(&self.origin), "could not get the account").await
    }

    /// The apps that the account has access to.
    ///
    /// # Errors
    /// According to the status of the response.
    pub async fn apps(&self) -> Result<Apps, Failure> {
        self.read(&calls::apps(&self.origin), "could not list the apps").await
    }

    async fn read<T: serde::de::DeserializeOwned>(&self, request: &Request, doing: &str) -> Result<T, Failure> {
        let AuthenticatedResponse { response, token } = self.send(request, doing).await?;
        if !response.status.is_success() {
            return Err(status::failure(doing, &response, Effect::Reads, &[token.expose()]));
        }
        if response.is_html() {
            return Err(status::web_page(doing, &response));
        }
        wire::read(&response).map_err(|problem| status::unexpected(doing, &response, &problem))
    }

    /// Sends a request with the token. If the token is rejected, nothing was carried out, and the request is sent again
    /// with a renewed token and the full timeout, as a shorter one could cut it off and leave its outcome unknown.
    async fn send(&self, request: &Request, doing: &str) -> Result<AuthenticatedResponse, Failure> {
        let send = async |token: &AccessToken| {
            let outcome = self.client.send(request, Some(token)).await;
            outcome.map_err(|failure| Failure { error: failure.error.about(doing), ..failure })
        };
        let no_token = |error: Error| Failure::not_sent(error.about(doing));
        let token = self.tokens.token().await.map_err(no_token)?;
        let response = send(&token).await?;
        let rejected = matches!(response.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if !rejected || self.renewal_is_useless.get() {
            return Ok(AuthenticatedResponse { response, token });
        }
        let renewed = match self.tokens.replace(&token, response.status).await {
            Ok(renewed) => renewed,
            // A 403 may also mean a missing permission, which a new token does not change.
            Err(error) if response.status == StatusCode::FORBIDDEN => {
                tracing::info!(%error, "the token could not be renewed");
                None
            }
            Err(error) => return Err(no_token(error).after(response.carried_out)),
        };
        let Some(renewed) = renewed else { return Ok(AuthenticatedResponse { response, token }) };
        let (attempts, before) = (response.attempts, response.carried_out);
        let retried = send(&renewed).await.map_err(|failure| failure.after(before))?;
        let response = retried.after(attempts, before);
        self.renewal_is_useless.set(response.status == StatusCode::UNAUTHORIZED);
        Ok(AuthenticatedResponse { response, token: renewed })
    }
}

/// What a request changes, which decides what is in doubt after a server error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Reads,
    Creates,
    Removes,
}

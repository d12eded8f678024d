//! The Bugfender API: its calls, and what its answers mean.

pub mod calls;
mod status;
mod wire;

use std::cell::Cell;
use std::fmt;

use futures_util::future::LocalBoxFuture;

pub use self::wire::{Account, App, Apps, Team};
pub use crate::http::{CarriedOut, Failure};

use crate::domain::{AccessToken, ApiOrigin, HookId, Subscription};
use crate::error::Error;
use crate::http::{Client, ClientOptions, HttpResponse, Request, StatusCode};

/// Who has the tokens that requests carry.
pub trait TokenProvider: fmt::Debug {
    /// The token to use now.
    fn token(&self) -> LocalBoxFuture<'_, Result<AccessToken, Error>>;

    /// A newer one than `refused`, which the server answered with `status`; `None` if there is none.
    fn instead_of<'a>(
        &'a self,
        refused: &'a AccessToken,
        status: StatusCode,
    ) -> LocalBoxFuture<'a, Result<Option<AccessToken>, Error>>;
}

/// A client that carries a token. There is no other way to call the API.
#[derive(Debug)]
pub struct AuthenticatedApi {
    client: Client,
    origin: ApiOrigin,
    tokens: Box<dyn TokenProvider>,
    /// Whether a renewed token was not taken either, so that renewing again is no use.
    renewing_is_futile: Cell<bool>,
}

/// An answer, and the token that the request carried.
struct AnsweredRequest {
    answer: HttpResponse,
    token: AccessToken,
}

/// How an unsubscription ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsubscribed {
    /// The server removed the hook (now, or in an attempt whose answer was lost).
    Removed,
    /// The server says that the hook is not there (HTTP 404).
    NotThere,
}

impl AuthenticatedApi {
    /// A client for one installation; opens no connection.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(origin: ApiOrigin, tokens: Box<dyn TokenProvider>, options: ClientOptions) -> Result<Self, Error> {
        Ok(Self { client: Client::new(options)?, origin, tokens, renewing_is_futile: Cell::new(false) })
    }

    /// Whether a request that was given up may have been carried out, when there was but one at a time.
    pub fn may_have_been_carried_out(&self) -> bool {
        self.client.is_in_doubt()
    }

    /// Whether there has been a connection: before that, nothing can have been sent.
    pub fn has_connected(&self) -> bool {
        self.client.has_connected()
    }

    /// Makes sure of a token before anything depends on it.
    ///
    /// # Errors
    /// When it has to be renewed and cannot be.
    pub async fn sign_in(&self) -> Result<(), Error> {
        self.tokens.token().await.map(|_| ())
    }

    /// Subscribes, once: not repeated unless it surely was not carried out.
    ///
    /// # Errors
    /// `carried_out: Maybe` when a hook may exist whose id is not known: no answer, or a 2xx without a readable id,
    /// or a 303, or a 5xx other than 503.
    pub async fn subscribe(&self, subscription: &Subscription) -> Result<HookId, Failure> {
        let doing = format!("could not subscribe to {subscription}");
        let AnsweredRequest { answer, token } = self.send(&calls::subscribe(subscription), &doing).await?;
        if !answer.status.is_success() {
            let target = &subscription.target_url;
            let password = target.password();
            let secrets = [
                token.expose(),
                password.as_deref().map_or("", |_| target.expose()),
                password.as_deref().unwrap_or(""),
            ];
            return Err(status::failure(&doing, &answer, Effect::Creates, &secrets));
        }
        wire::created_hook(&answer).map_err(|problem| status::unreadable(&doing, &answer, &problem))
    }

    /// Unsubscribes; repeated on transient failures.
    ///
    /// # Errors
    /// `carried_out: Maybe` when it is not known whether the hook is still there.
    pub async fn unsubscribe(&self, hook: HookId) -> Result<Unsubscribed, Failure> {
        let doing = format!("could not unsubscribe hook {hook}");
        let AnsweredRequest { answer, token } = self.send(&calls::unsubscribe(&self.origin, hook), &doing).await?;
        match answer.status.as_u16() {
            200..=299 if answer.is_html() => Err(status::web_page(&doing, &answer)),
            200..=299 => Ok(Unsubscribed::Removed),
            // An earlier attempt may have done it, and its answer was lost.
            404 if answer.carried_out == CarriedOut::Maybe => Ok(Unsubscribed::Removed),
            404 => Ok(Unsubscribed::NotThere),
            _ => Err(status::failure(&doing, &answer, Effect::Removes, &[token.expose()])),
        }
    }

    /// Asks who the token belongs to, which shows that the API answers and takes the token.
    ///
    /// # Errors
    /// As the status says.
    pub async fn me(&self) -> Result<Account, Failure> {
        self.read(&calls::me(&self.origin), "could not ask who is signed in").await
    }

    /// Asks which apps the account sees.
    ///
    /// # Errors
    /// As the status says.
    pub async fn apps(&self) -> Result<Apps, Failure> {
        self.read(&calls::apps(&self.origin), "could not ask for the apps").await
    }

    async fn read<T: serde::de::DeserializeOwned>(&self, request: &Request, doing: &str) -> Result<T, Failure> {
        let AnsweredRequest { answer, token } = self.send(request, doing).await?;
        if !answer.status.is_success() {
            return Err(status::failure(doing, &answer, Effect::Reads, &[token.expose()]));
        }
        if answer.is_html() {
            return Err(status::web_page(doing, &answer));
        }
        wire::read(&answer).map_err(|problem| status::unexpected(doing, &answer, &problem))
    }

    /// Sends a request with the token; once more with a newer one if it was not taken, as nothing was carried out then.
    /// That is a request of its own, with all the time there is for one: given up early it would leave but doubt.
    async fn send(&self, request: &Request, doing: &str) -> Result<AnsweredRequest, Failure> {
        let send = async |token: &AccessToken| {
            let outcome = self.client.send(request, Some(token)).await;
            outcome.map_err(|failure| Failure { error: failure.error.about(doing), ..failure })
        };
        let no_token = |error: Error| Failure::not_sent(error.about(doing));
        let token = self.tokens.token().await.map_err(no_token)?;
        let answer = send(&token).await?;
        let refused = matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if !refused || self.renewing_is_futile.get() {
            return Ok(AnsweredRequest { answer, token });
        }
        let newer = match self.tokens.instead_of(&token, answer.status).await {
            Ok(newer) => newer,
            // A 403 may have meant just what it said.
            Err(error) if answer.status == StatusCode::FORBIDDEN => {
                tracing::info!(%error, "the token could not be renewed");
                None
            }
            Err(error) => return Err(no_token(error).after(answer.carried_out)),
        };
        let Some(newer) = newer else { return Ok(AnsweredRequest { answer, token }) };
        let (attempts, before) = (answer.attempts, answer.carried_out);
        let again = send(&newer).await.map_err(|failure| failure.after(before))?;
        let answer = again.after(attempts, before);
        self.renewing_is_futile.set(answer.status == StatusCode::UNAUTHORIZED);
        Ok(AnsweredRequest { answer, token: newer })
    }
}

/// What a call changes, which decides what a server error leaves in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Reads,
    Creates,
    Removes,
}

//! The Bugfender API: its calls, and what its answers mean.

pub mod calls;
mod status;
mod wire;

pub use crate::http::{CarriedOut, Failure};

use crate::domain::{AccessToken, ApiOrigin, HookId, Subscription};
use crate::error::Error;
use crate::http::{Answer, Client, Options, Request};

/// A client that carries a token. There is no other way to call the API.
#[derive(Debug)]
pub struct AuthenticatedApi {
    client: Client,
    origin: ApiOrigin,
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
    pub fn new(origin: ApiOrigin, token: AccessToken, options: Options) -> Result<Self, Error> {
        Ok(Self { client: Client::new(options)?, origin, token })
    }

    /// Subscribes, once: not repeated unless it surely was not carried out.
    ///
    /// # Errors
    /// `carried_out: Maybe` when a hook may exist whose id is not known: no answer, or a 2xx without a readable id,
    /// or a 5xx other than 503.
    pub async fn subscribe(&self, subscription: &Subscription) -> Result<HookId, Failure> {
        let doing = format!("could not subscribe to {subscription}");
        let answer = self.send(&calls::subscribe(subscription), &doing).await?;
        if !answer.status.is_success() {
            let target = &subscription.target_url;
            let password = target.password();
            let secrets = [
                self.token.expose(),
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
        let answer = self.send(&calls::unsubscribe(&self.origin, hook), &doing).await?;
        match answer.status.as_u16() {
            200..=299 if answer.is_html() => Err(status::web_page(&doing, &answer)),
            200..=299 => Ok(Unsubscribed::Removed),
            // An earlier attempt did it; its answer was lost.
            404 if answer.attempts > 1 => Ok(Unsubscribed::Removed),
            404 => Ok(Unsubscribed::NotThere),
            _ => Err(status::failure(&doing, &answer, Effect::Removes, &[self.token.expose()])),
        }
    }

    /// Asks who the token belongs to, which shows that the API answers and takes the token.
    ///
    /// # Errors
    /// As the status says.
    pub async fn me(&self) -> Result<(), Failure> {
        let doing = "could not ask who is signed in";
        let answer = self.send(&calls::me(&self.origin), doing).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        Err(status::failure(doing, &answer, Effect::Reads, &[self.token.expose()]))
    }

    async fn send(&self, request: &Request, doing: &str) -> Result<Answer, Failure> {
        let outcome = self.client.send(request, Some(&self.token)).await;
        outcome.map_err(|failure| Failure { error: status::doing(doing, failure.error), ..failure })
    }
}

/// What a call changes, which decides what a server error leaves in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Reads,
    Creates,
    Removes,
}

//! Where the API's client gets its tokens from.

use futures_util::future::LocalBoxFuture;

use crate::api::TokenProvider;
use crate::auth::Session;
use crate::domain::AccessToken;
use crate::error::Result;
use crate::http::StatusCode;

/// A token that is never renewed.
#[derive(Debug)]
pub(super) struct FixedToken(pub(super) AccessToken);

impl TokenProvider for FixedToken {
    fn token(&self) -> LocalBoxFuture<'_, Result<AccessToken>> {
        Box::pin(async { Ok(self.0.clone()) })
    }

    fn replace<'a>(
        &'a self,
        _rejected: &'a AccessToken,
        _status: StatusCode,
    ) -> LocalBoxFuture<'a, Result<Option<AccessToken>>> {
        Box::pin(async { Ok(None) })
    }
}

impl TokenProvider for Session {
    fn token(&self) -> LocalBoxFuture<'_, Result<AccessToken>> {
        Box::pin(self.token())
    }

    fn replace<'a>(
        &'a self,
        rejected: &'a AccessToken,
        status: StatusCode,
    ) -> LocalBoxFuture<'a, Result<Option<AccessToken>>> {
        Box::pin(self.replace(rejected, status))
    }
}

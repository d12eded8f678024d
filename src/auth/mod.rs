//! Tokens: where they come from and where they are kept.

mod credential_file;

pub use credential_file::{CredentialFile, CredentialLock};

use std::path::PathBuf;

use crate::config::{Environment, environment};
use crate::domain::{AccessToken, ApiOrigin};
use crate::error::Error;

/// Where a token was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// In this environment variable.
    Environment(&'static str),
    /// In this file.
    File(PathBuf),
}

/// The token for an installation: from the environment, else from the credential file.
///
/// # Errors
/// A usage error for a malformed variable, a store error for a file that cannot be read.
pub fn find_token(environment: &Environment, origin: &ApiOrigin) -> Result<Option<(AccessToken, TokenSource)>, Error> {
    if let Some(text) = environment.text(environment::API_TOKEN)? {
        let token =
            AccessToken::parse(text).map_err(|error| Error::usage(format!("{}: {error}", environment::API_TOKEN)))?;
        return Ok(Some((token, TokenSource::Environment(environment::API_TOKEN))));
    }
    let file = CredentialFile::open()?;
    let token = file.read(origin)?;
    Ok(token.map(|token| (token, TokenSource::File(file.path()))))
}

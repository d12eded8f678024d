//! Types for secrets, which never show them.

use secrecy::{ExposeSecret, SecretString};

use super::text::without_bom;
use crate::error::Error;

/// An OAuth 2 bearer token. `Debug` hides it, and there is no `Display`.
#[derive(Debug, Clone)]
pub struct AccessToken(SecretString);

impl AccessToken {
    /// Parses a pasted token, with surrounding white space and an optional `Bearer` prefix.
    ///
    /// # Errors
    /// A usage error for a token that is invalid in an `Authorization` header (RFC 6750, section 2.1).
    pub fn parse(text: &str) -> Result<Self, Error> {
        let token = without_bom(text).trim();
        let token = token.strip_prefix("Bearer ").map_or(token, str::trim);
        if token.is_empty() || token == "Bearer" {
            return Err(Error::usage("the token is empty"));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::usage("the token contains a space or an invalid character")
                .hint("provide only the token, on one line"));
        }
        Ok(Self(SecretString::from(token)))
    }

    /// The token itself, only for the `Authorization` header, the credential store and `auth token`.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Compares the texts of the tokens.
impl PartialEq for AccessToken {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for AccessToken {}

/// A secret, such as a client secret or a refresh token. `Debug` hides it.
#[derive(Debug, Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Parses a secret from a file, a variable or a terminal, with an optional line break at the end.
    ///
    /// # Errors
    /// A usage error that names `what`, for a secret that is empty or has invalid characters (RFC 6749, appendix A).
    pub fn parse(what: &str, text: &str) -> Result<Self, Error> {
        let secret = without_bom(text).trim();
        if secret.is_empty() {
            return Err(Error::usage(format!("{what} is empty")));
        }
        if !secret.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(Error::usage(format!("{what} contains a line break or an invalid character"))
                .hint("provide only the secret, on one line"));
        }
        Ok(Self(SecretString::from(secret)))
    }

    /// The secret itself, only for signing, verifying, the token endpoint and the credential store.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

/// The password of a database's user, or a text that contains it: any characters. `Debug` hides it.
#[derive(Debug, Clone)]
pub struct Password(SecretString);

impl Password {
    /// A password as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The password itself, only for signing in and the configuration file.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Password {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pasted_tokens_are_parsed_and_never_shown() {
        let token = AccessToken::parse("\u{feff} Bearer abc.DEF-123\n").unwrap();
        assert_eq!(token.expose(), "abc.DEF-123");
        assert!(!format!("{token:?}").contains("abc"));
        for wrong in ["", "  ", "Bearer ", "two words", "tab\tbed", "naïve", "a\u{0}b"] {
            assert!(AccessToken::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn secrets_are_trimmed_and_never_shown() {
        let secret = Secret::parse("the client secret", "\u{feff}s3 cret!\r\n").unwrap();
        assert_eq!(secret.expose(), "s3 cret!");
        assert!(!format!("{secret:?}").contains("s3"));
        for wrong in ["", "\n", "two\nlines", "naïve"] {
            let error = Secret::parse("the client secret", wrong).unwrap_err();
            assert!(error.to_string().starts_with("the client secret "), "{error}");
        }
    }
}

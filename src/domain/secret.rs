//! Secrets as types that cannot show themselves.

use secrecy::{ExposeSecret, SecretString};

use crate::error::Error;

/// An OAuth 2 bearer token. `Debug` hides it and there is no `Display`.
#[derive(Debug, Clone)]
pub struct AccessToken(SecretString);

impl AccessToken {
    /// Takes a token as somebody pasted it, with white space around it and perhaps the word `Bearer` before it.
    ///
    /// # Errors
    /// A usage error when what is left could not stand in an `Authorization` header (RFC 6750, section 2.1).
    pub fn parse(text: &str) -> Result<Self, Error> {
        let token = text.trim();
        let token = token.strip_prefix("Bearer ").map_or(token, str::trim);
        if token.is_empty() || token == "Bearer" {
            return Err(Error::usage("the token is empty"));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::usage("the token holds a space or a character that no token has")
                .hint("give the token alone, on one line"));
        }
        Ok(Self(SecretString::from(token)))
    }

    /// The token itself: for the `Authorization` header, what keeps credentials and `auth token` only.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Two tokens are the same when their texts are.
impl PartialEq for AccessToken {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for AccessToken {}

/// A client secret or a refresh token: what new access tokens are had for. `Debug` hides it.
#[derive(Debug, Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a secret as it was read from a file, a variable or a terminal, with a line end behind it.
    ///
    /// # Errors
    /// A usage error, which names `what`, for one that is empty or holds what no secret does (RFC 6749, appendix A).
    pub fn parse(what: &str, text: &str) -> Result<Self, Error> {
        let secret = text.trim();
        if secret.is_empty() {
            return Err(Error::usage(format!("{what} is empty")));
        }
        if !secret.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(Error::usage(format!("{what} holds a line break or a character that none has"))
                .hint("give it alone, on one line"));
        }
        Ok(Self(SecretString::from(secret)))
    }

    /// The secret itself: for the token endpoint and what keeps credentials only.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_taken_as_pasted_and_never_shown() {
        let token = AccessToken::parse(" Bearer abc.DEF-123\n").unwrap();
        assert_eq!(token.expose(), "abc.DEF-123");
        assert!(!format!("{token:?}").contains("abc"));
        for wrong in ["", "  ", "Bearer ", "two words", "tab\tbed", "naïve", "a\u{0}b"] {
            assert!(AccessToken::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn secrets_are_trimmed_and_never_shown() {
        let secret = Secret::parse("the client secret", "s3 cret!\r\n").unwrap();
        assert_eq!(secret.expose(), "s3 cret!");
        assert!(!format!("{secret:?}").contains("s3"));
        for wrong in ["", "\n", "two\nlines", "naïve"] {
            let error = Secret::parse("the client secret", wrong).unwrap_err();
            assert!(error.to_string().starts_with("the client secret "), "{error}");
        }
    }
}

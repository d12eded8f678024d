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
                .hint("give the access token alone, on one line"));
        }
        Ok(Self(SecretString::from(token)))
    }

    /// The token itself: for the `Authorization` header, the credential file and `auth token` only.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

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
}

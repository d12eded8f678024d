//! What a sign-in consists of, and how it is written down.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::{AccessToken, ApiOrigin, ClientId, ProfileName, Secret, whole_second};
use crate::error::Error;

/// How long before its end a token is renewed. One of a shorter life than twice this is renewed halfway.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);

/// An access token and its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The token.
    pub access: AccessToken,
    /// When it was asked for; not known of a pasted one.
    pub obtained_at: Option<Timestamp>,
    /// When it ends, if the server said so.
    pub expires_at: Option<Timestamp>,
}

impl Token {
    /// A token of which nothing else is known.
    pub fn pasted(access: AccessToken) -> Self {
        Self { access, obtained_at: None, expires_at: None }
    }

    /// A token asked for at `obtained_at`, which lives this long.
    pub fn granted(access: AccessToken, obtained_at: Timestamp, life: Option<Duration>) -> Self {
        // Whole seconds, as in the answer.
        let obtained_at = whole_second(obtained_at);
        let life = life.and_then(|life| SignedDuration::try_from(life).ok());
        let expires_at = life.and_then(|life| obtained_at.checked_add(life).ok());
        Self { access, obtained_at: Some(obtained_at), expires_at }
    }

    /// Whether it is good for use; false once it is time to renew it.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        let Some(expires_at) = self.expires_at else { return true };
        let life = self.obtained_at.map_or(SignedDuration::MAX, |obtained_at| expires_at.duration_since(obtained_at));
        expires_at.duration_since(now) > MARGIN.min(life / 2)
    }

    /// Whether its end is past.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// When it ends, for people.
    pub fn until(&self) -> String {
        self.expires_at.map_or_else(|| "it is refused".to_owned(), |expires_at| expires_at.to_string())
    }

    /// Whether it was asked for within the last while, so that a server that refuses it means something else.
    pub fn is_new(&self, now: Timestamp) -> bool {
        self.obtained_at.is_some_and(|obtained_at| now.duration_since(obtained_at).abs() < MARGIN)
    }
}

/// How new access tokens are had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Not at all: there is but the token that somebody pasted.
    None,
    /// For a refresh token, which the server may replace at each use (RFC 6749, section 6).
    Refresh {
        /// The client it was given to, if that is known.
        client_id: Option<ClientId>,
        /// The client's secret, if it has one.
        client_secret: Option<Secret>,
        /// The newest refresh token.
        refresh_token: Secret,
        /// Whether a browser was used to sign in.
        browser: bool,
    },
    /// For the credentials of a service account (RFC 6749, section 4.4).
    Service {
        /// The account.
        client_id: ClientId,
        /// What proves it.
        proof: Proof,
    },
}

/// What a service account proves itself with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A secret.
    Secret(Secret),
    /// The RSA private key in this PEM file, which stays where it is.
    Key(PathBuf),
}

impl Grant {
    /// The name of this way to sign in.
    pub fn kind(&self) -> Kind {
        match self {
            Self::None => Kind::Token,
            Self::Refresh { browser: true, .. } => Kind::Browser,
            Self::Refresh { browser: false, .. } => Kind::RefreshToken,
            Self::Service { proof: Proof::Secret(_), .. } => Kind::ServiceAccount,
            Self::Service { proof: Proof::Key(_), .. } => Kind::ServiceAccountKey,
        }
    }

    /// The client that signs in.
    pub fn client_id(&self) -> Option<&ClientId> {
        match self {
            Self::None => None,
            Self::Refresh { client_id, .. } => client_id.as_ref(),
            Self::Service { client_id, .. } => Some(client_id),
        }
    }

    /// The newest refresh token.
    pub fn refresh_token(&self) -> Option<&Secret> {
        match self {
            Self::Refresh { refresh_token, .. } => Some(refresh_token),
            _ => None,
        }
    }
}

/// The ways to sign in, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A pasted access token.
    Token,
    /// A pasted refresh token.
    RefreshToken,
    /// In a browser.
    Browser,
    /// A service account with a secret.
    ServiceAccount,
    /// A service account with a private key.
    ServiceAccountKey,
}

impl Kind {
    /// Its name, as in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::RefreshToken => "refresh_token",
            Self::Browser => "browser",
            Self::ServiceAccount => "service_account",
            Self::ServiceAccountKey => "service_account_key",
        }
    }
}

/// A sign-in: how tokens are had, and the last one.
#[derive(Debug, Clone)]
pub struct Credential {
    /// How new tokens are had.
    pub grant: Grant,
    /// The last one.
    pub token: Option<Token>,
}

/// Whose sign-in it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CredentialOwner {
    pub(super) profile: ProfileName,
    #[serde(rename = "api_url")]
    pub(super) origin: String,
}

impl CredentialOwner {
    pub(super) fn new(profile: &ProfileName, origin: &ApiOrigin) -> Self {
        Self { profile: profile.clone(), origin: origin.to_string() }
    }
}

/// A credential as it is written. Not `Debug`: it is full of secrets.
#[derive(Serialize, Deserialize)]
pub(super) struct Written {
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<ClientId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    obtained_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

impl From<&Credential> for Written {
    fn from(credential: &Credential) -> Self {
        let (client_secret, private_key_file) = match &credential.grant {
            Grant::Service { proof: Proof::Secret(secret), .. } => (Some(secret), None),
            Grant::Service { proof: Proof::Key(path), .. } => (None, Some(path.clone())),
            Grant::Refresh { client_secret, .. } => (client_secret.as_ref(), None),
            Grant::None => (None, None),
        };
        let token = credential.token.as_ref();
        Self {
            kind: credential.grant.kind(),
            client_id: credential.grant.client_id().cloned(),
            client_secret: client_secret.map(|secret| secret.expose().to_owned()),
            private_key_file,
            refresh_token: credential.grant.refresh_token().map(|token| token.expose().to_owned()),
            access_token: token.map(|token| token.access.expose().to_owned()),
            obtained_at: token.and_then(|token| token.obtained_at),
            expires_at: token.and_then(|token| token.expires_at),
        }
    }
}

impl TryFrom<Written> for Credential {
    type Error = Error;

    fn try_from(written: Written) -> Result<Self, Error> {
        let missing = |what: &str| Error::usage(format!("{what} is missing"));
        let client_secret = written.client_secret.map(|text| Secret::parse("the client secret", &text)).transpose()?;
        let refresh_token = written.refresh_token.map(|text| Secret::parse("the refresh token", &text)).transpose()?;
        let service = |proof: Option<Proof>| -> Result<Grant, Error> {
            let client_id = written.client_id.clone().ok_or_else(|| missing("the client id"))?;
            Ok(Grant::Service { client_id, proof: proof.ok_or_else(|| missing("its proof"))? })
        };
        let grant = match written.kind {
            Kind::Token => Grant::None,
            Kind::Browser | Kind::RefreshToken => Grant::Refresh {
                client_id: written.client_id,
                client_secret,
                refresh_token: refresh_token.ok_or_else(|| missing("the refresh token"))?,
                browser: written.kind == Kind::Browser,
            },
            Kind::ServiceAccount => service(client_secret.map(Proof::Secret))?,
            Kind::ServiceAccountKey => service(written.private_key_file.map(Proof::Key))?,
        };
        let token = written.access_token.map(|text| AccessToken::parse(&text)).transpose()?.map(|access| Token {
            access,
            obtained_at: written.obtained_at,
            expires_at: written.expires_at,
        });
        Ok(Self { grant, token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(obtained: &str, life: u64) -> Token {
        let access = AccessToken::parse("t").unwrap();
        Token::granted(access, obtained.parse().unwrap(), Some(Duration::from_secs(life)))
    }

    #[test]
    fn a_token_is_renewed_a_minute_before_its_end() {
        let hour = token("2026-11-21T10:00:00Z", 3600);
        for (now, fresh, over) in [
            ("2026-11-21T10:00:00Z", true, false),
            ("2026-11-21T10:58:59Z", true, false),
            ("2026-11-21T10:59:00Z", false, false),
            ("2026-11-21T11:00:00Z", false, true),
        ] {
            let now = now.parse().unwrap();
            assert_eq!((hour.is_fresh(now), hour.is_over(now)), (fresh, over), "{now}");
        }
        let short = token("2026-11-21T10:00:00Z", 20);
        assert!(short.is_fresh("2026-11-21T10:00:09Z".parse().unwrap()));
        assert!(!short.is_fresh("2026-11-21T10:00:10Z".parse().unwrap()));
        assert!(Token::pasted(AccessToken::parse("t").unwrap()).is_fresh(Timestamp::MAX));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let secret = |text: &str| Secret::parse("it", text).unwrap();
        let client_id: ClientId = "me".parse().unwrap();
        for grant in [
            Grant::None,
            Grant::Refresh {
                client_id: Some(client_id.clone()),
                client_secret: Some(secret("cs")),
                refresh_token: secret("r"),
                browser: true,
            },
            Grant::Refresh { client_id: None, client_secret: None, refresh_token: secret("r"), browser: false },
            Grant::Service { client_id: client_id.clone(), proof: Proof::Secret(secret("cs")) },
            Grant::Service { client_id, proof: Proof::Key("/keys/a.pem".into()) },
        ] {
            let credential = Credential { grant, token: Some(token("2026-11-21T10:00:00Z", 3600)) };
            let text = serde_json::to_string(&Written::from(&credential)).unwrap();
            let read = Credential::try_from(serde_json::from_str::<Written>(&text).unwrap()).unwrap();
            assert_eq!((read.grant, read.token), (credential.grant, credential.token));
        }
    }
}

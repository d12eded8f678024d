//! Credentials and tokens, and how they are serialised.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::{AccessToken, ApiOrigin, ClientId, ProfileName, Secret, whole_second};
use crate::error::Error;

/// How long before its expiry a token is renewed. A token with less than twice this lifetime is renewed halfway.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);

/// An access token and its lifetime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The token.
    pub access: AccessToken,
    /// When it was requested; unknown for a pasted token.
    pub obtained_at: Option<Timestamp>,
    /// When it expires, if known.
    pub expires_at: Option<Timestamp>,
}

impl Token {
    /// A token with unknown expiry.
    pub fn pasted(access: AccessToken) -> Self {
        Self { access, obtained_at: None, expires_at: None }
    }

    /// A token requested at `obtained_at` with this lifetime.
    pub fn granted(access: AccessToken, obtained_at: Timestamp, life: Option<Duration>) -> Self {
        // Whole seconds, like `expires_in` of the response.
        let obtained_at = whole_second(obtained_at);
        let life = life.and_then(|life| SignedDuration::try_from(life).ok());
        let expires_at = life.and_then(|life| obtained_at.checked_add(life).ok());
        Self { access, obtained_at: Some(obtained_at), expires_at }
    }

    /// Whether it does not have to be renewed yet.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        let Some(expires_at) = self.expires_at else { return true };
        let life = self.obtained_at.map_or(SignedDuration::MAX, |obtained_at| expires_at.duration_since(obtained_at));
        expires_at.duration_since(now) > MARGIN.min(life / 2)
    }

    /// Whether it has expired.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// When it expires, for messages: "valid until …".
    pub fn until(&self) -> String {
        self.expires_at.map_or_else(|| "the server rejects it".to_owned(), |expires_at| expires_at.to_string())
    }

    /// Whether it was requested so recently that a rejection has another cause than its expiry.
    pub fn is_new(&self, now: Timestamp) -> bool {
        self.obtained_at.is_some_and(|obtained_at| now.duration_since(obtained_at).abs() < MARGIN)
    }
}

/// How new access tokens are obtained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Not at all: there is only a pasted access token.
    None,
    /// With a refresh token, which the server may replace at each use (RFC 6749, section 6).
    Refresh {
        /// The client that it was issued to, if known.
        client_id: Option<ClientId>,
        /// The client's secret, if it has one.
        client_secret: Option<Secret>,
        /// The latest refresh token.
        refresh_token: Secret,
        /// Whether a browser was used to sign in.
        browser: bool,
    },
    /// With the credentials of a service account (RFC 6749, section 4.4).
    Service {
        /// The client id of the account.
        client_id: ClientId,
        /// Its secret or key.
        proof: Proof,
    },
}

/// What a service account authenticates with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A secret.
    Secret(Secret),
    /// The RSA private key in this PEM file, which is read at each use.
    Key(PathBuf),
}

impl Grant {
    /// The kind of sign-in.
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

    /// The latest refresh token.
    pub fn refresh_token(&self) -> Option<&Secret> {
        match self {
            Self::Refresh { refresh_token, .. } => Some(refresh_token),
            _ => None,
        }
    }
}

/// The kinds of sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A pasted access token.
    Token,
    /// A pasted refresh token.
    RefreshToken,
    /// A browser.
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

/// A credential: how tokens are obtained, and the latest one.
#[derive(Debug, Clone)]
pub struct Credential {
    /// How new tokens are obtained.
    pub grant: Grant,
    /// The latest token.
    pub token: Option<Token>,
}

/// The profile and installation that a credential belongs to.
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

/// The serialised form of a credential. Not `Debug`, as it contains secrets.
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
            Ok(Grant::Service { client_id, proof: proof.ok_or_else(|| missing("its secret or key"))? })
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
    fn a_token_is_renewed_a_minute_before_its_expiry() {
        let hour = token("2026-11-21T10:00:00Z", 3600);
        for (now, fresh, expired) in [
            ("2026-11-21T10:00:00Z", true, false),
            ("2026-11-21T10:58:59Z", true, false),
            ("2026-11-21T10:59:00Z", false, false),
            ("2026-11-21T11:00:00Z", false, true),
        ] {
            let now = now.parse().unwrap();
            assert_eq!((hour.is_fresh(now), hour.is_expired(now)), (fresh, expired), "{now}");
        }
        let short_lived = token("2026-11-21T10:00:00Z", 20);
        assert!(short_lived.is_fresh("2026-11-21T10:00:09Z".parse().unwrap()));
        assert!(!short_lived.is_fresh("2026-11-21T10:00:10Z".parse().unwrap()));
        assert!(Token::pasted(AccessToken::parse("t").unwrap()).is_fresh(Timestamp::MAX));
    }

    #[test]
    fn credentials_survive_serialisation() {
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

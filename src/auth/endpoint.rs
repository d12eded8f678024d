//! The OAuth 2 endpoints of an installation: `{origin}/auth/authorize` and `{origin}/auth/token` (seen in published
//! clients).

use std::cell::RefCell;
use std::fmt;

use jiff::Timestamp;
use oauth2::basic::{
    BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope,
    StandardRevocableToken, TokenUrl,
};
use secrecy::SecretString;
use url::Url;
use url::form_urlencoded::{self, byte_serialize};

use super::assertion;
use super::credential::{Proof, Token};
use super::response::TokenEndpointResponse;
use crate::domain::{AccessToken, ApiOrigin, ClientId, Secret};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{self, Method, Repeat, Request, RequestBody};

/// The only scope (seen in published clients).
const SCOPE: &str = "all";

type OauthClient = oauth2::Client<
    BasicErrorResponse,
    TokenEndpointResponse,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// The OAuth 2 endpoints and an HTTP client for them.
#[derive(Debug)]
pub struct TokenEndpoint {
    origin: ApiOrigin,
    http: http::Client,
}

/// What the token endpoint granted.
#[derive(Debug)]
pub struct GrantedToken {
    /// The access token.
    pub token: Token,
    /// The refresh token that replaces the previous one.
    pub refresh_token: Option<Secret>,
}

/// Why the token endpoint granted no token.
#[derive(Debug)]
pub enum Refusal {
    /// The refresh token or code is invalid, expired or revoked (`invalid_grant`).
    InvalidGrant(Error),
    /// Anything else.
    Other(Error),
}

impl Refusal {
    /// The error to show.
    pub fn into_error(self) -> Error {
        match self {
            Self::InvalidGrant(error) | Self::Other(error) => error,
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// A sign-in in a browser that has been started.
#[derive(Debug)]
pub struct Authorization {
    /// The URL to open in the browser.
    pub url: Url,
    /// The value that the redirect must contain.
    state: CsrfToken,
    verifier: PkceCodeVerifier,
    redirect: RedirectUrl,
}

impl Authorization {
    /// Whether the `state` of a redirect is that of this authorization.
    pub fn is_state(&self, state: &str) -> bool {
        state == self.state.secret()
    }
}

impl TokenEndpoint {
    /// The endpoints of an installation; opens no connection.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(origin: ApiOrigin, options: http::ClientOptions) -> Result<Self> {
        Ok(Self { origin, http: http::Client::new(options)? })
    }

    /// Gets a token with the credentials of a service account.
    ///
    /// # Errors
    /// According to the response, or when the network fails.
    pub async fn client_credentials(&self, client_id: &ClientId, proof: &Proof) -> Result<GrantedToken, Refusal> {
        let (secret, assertion) = match proof {
            Proof::Secret(secret) => (Some(secret), None),
            Proof::Key(path) => (None, Some(assertion::sign(client_id, token_url(&self.origin).as_str(), path)?)),
        };
        let token_request = match (secret, &assertion) {
            // An assertion can be used once, so a request that may have reached the server is not retried with it.
            (_, Some(assertion)) => self.token_request(Repeat::OnlyIfNotCarriedOut, &[assertion]),
            (secret, None) => self.token_request(Repeat::Idempotent, &[secret.map_or("", Secret::expose)]),
        };
        let oauth = self.oauth(Some(client_id), secret)?;
        let mut request = oauth.exchange_client_credentials();
        if let Some(assertion) = assertion {
            request = request
                .add_extra_param("client_assertion_type", assertion::TYPE)
                .add_extra_param("client_assertion", assertion);
        }
        let outcome = request.request_async(&|request| token_request.send(request)).await;
        token_request.finish(outcome)
    }

    /// Gets a token with a refresh token. It can be used once, so a request that may
    /// have been carried out is not retried.
    ///
    /// # Errors
    /// `InvalidGrant` when the refresh token has expired or was revoked.
    pub async fn refresh(
        &self,
        client_id: Option<&ClientId>,
        client_secret: Option<&Secret>,
        refresh_token: &Secret,
    ) -> Result<GrantedToken, Refusal> {
        let secrets = [refresh_token.expose(), client_secret.map_or("", Secret::expose)];
        let token_request = self.token_request(Repeat::OnlyIfNotCarriedOut, &secrets);
        let oauth = self.oauth(client_id, client_secret)?;
        let refresh_token = RefreshToken::new(refresh_token.expose().to_owned());
        let outcome =
            oauth.exchange_refresh_token(&refresh_token).request_async(&|request| token_request.send(request)).await;
        token_request.finish(outcome)
    }

    /// Starts a sign-in in a browser, which ends at `redirect`: PKCE with S256 (RFC 7636), and a random `state`.
    ///
    /// # Errors
    /// When the URLs of the endpoints are invalid, which is a bug.
    pub fn authorize(&self, client_id: &ClientId, redirect: &Url) -> Result<Authorization> {
        let redirect = RedirectUrl::from_url(redirect.clone());
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let oauth = self.oauth(Some(client_id), None)?.set_redirect_uri(redirect.clone());
        let request = oauth.authorize_url(CsrfToken::new_random).add_scope(Scope::new(SCOPE.to_owned()));
        let (url, state) = request.set_pkce_challenge(challenge).url();
        Ok(Authorization { url, state, verifier, redirect })
    }

    /// Completes a sign-in in a browser: gets a token with the authorization code, which can be used once.
    ///
    /// # Errors
    /// According to the response, or when the network fails.
    pub async fn exchange(
        &self,
        authorization: Authorization,
        client_id: &ClientId,
        client_secret: Option<&Secret>,
        code: String,
    ) -> Result<GrantedToken, Refusal> {
        let secrets = [code.as_str(), authorization.verifier.secret(), client_secret.map_or("", Secret::expose)];
        let token_request = self.token_request(Repeat::OnlyIfNotCarriedOut, &secrets);
        let oauth = self.oauth(Some(client_id), client_secret)?.set_redirect_uri(authorization.redirect);
        let request = oauth.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(authorization.verifier);
        let outcome = request.request_async(&|request| token_request.send(request)).await;
        token_request.finish(outcome)
    }

    fn oauth(&self, client_id: Option<&ClientId>, client_secret: Option<&Secret>) -> Result<OauthClient> {
        let bug = |error: url::ParseError| Error::new(ErrorKind::Other, error.to_string());
        let id = oauth2::ClientId::new(client_id.map_or_else(String::new, ToString::to_string));
        let mut client = oauth2::Client::new(id)
            .set_auth_uri(AuthUrl::new(self.origin.url(["auth", "authorize"]).into()).map_err(bug)?)
            .set_token_uri(TokenUrl::new(token_url(&self.origin).into()).map_err(bug)?)
            // Client id and secret in the form, as in published clients.
            .set_auth_type(AuthType::RequestBody);
        if let Some(secret) = client_secret {
            client = client.set_client_secret(ClientSecret::new(secret.expose().to_owned()));
        }
        Ok(client)
    }

    fn token_request(&self, repeat: Repeat, secrets: &[&str]) -> TokenRequest<'_> {
        // An error of the server may repeat them as plain text, as encoded in the form, or in JSON.
        let forms = |secret: &&str| {
            let sent: String = byte_serialize(secret.as_bytes()).collect();
            let json = serde_json::Value::from(*secret).to_string();
            [(*secret).to_owned(), sent.replace('+', "%20"), sent, json.trim_matches('"').to_owned()]
        };
        TokenRequest {
            endpoint: self,
            repeat,
            requested_at: Timestamp::now(),
            secrets: secrets.iter().flat_map(forms).collect(),
            status: RefCell::new(None),
        }
    }
}

/// The token endpoint.
pub fn token_url(origin: &ApiOrigin) -> Url {
    origin.url(["auth", "token"])
}

/// One request to the token endpoint. Not `Debug`, as it contains secrets.
struct TokenRequest<'a> {
    endpoint: &'a TokenEndpoint,
    repeat: Repeat,
    /// Before the request: the lifetime of the token is counted from here.
    requested_at: Timestamp,
    secrets: Vec<String>,
    status: RefCell<Option<u16>>,
}

/// An error of this crate, passed through the library.
#[derive(Debug)]
struct Passed(Error);

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Passed {}

type TokenResult = Result<TokenEndpointResponse, RequestTokenError<Passed, BasicErrorResponse>>;

impl TokenRequest<'_> {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Passed> {
        let form: String = form_urlencoded::Serializer::new(String::new())
            // The library sends an empty client id where there is none; it is left out here.
            .extend_pairs(form_urlencoded::parse(request.body()).filter(|(_, value)| !value.is_empty()))
            .finish();
        let request = Request {
            method: Method::POST,
            url: token_url(&self.endpoint.origin),
            body: Some(RequestBody::Form(SecretString::from(form))),
            repeat: self.repeat,
        };
        let response =
            self.endpoint.http.send(&request, None).await.map_err(|failure| Passed(self.about(failure.error)))?;
        let status = response.status.as_u16();
        *self.status.borrow_mut() = Some(status);
        let unusable = match status {
            408 | 429 | 500.. => Some((ErrorKind::Unavailable, "the token endpoint is unavailable")),
            _ if response.is_html() => Some((ErrorKind::Other, "got a web page instead of a token response")),
            _ => None,
        };
        if let Some((kind, what)) = unusable {
            let secrets: Vec<&str> = self.secrets.iter().map(String::as_str).collect();
            let quote = response.quote(&secrets).map_or_else(String::new, |quote| format!(": “{quote}”"));
            let error = Error::new(kind, format!("{what} (HTTP {status}){quote}")).status(status);
            let hint =
                if kind == ErrorKind::Other { CHECK_URL } else { "try again later; stored credentials are unchanged" };
            return Err(Passed(self.about(error.hint(hint))));
        }
        let body = response.body.map_err(|_| {
            Passed(self.about(Error::new(ErrorKind::Unavailable, format!("the response was cut off (HTTP {status})"))))
        })?;
        let mut converted = HttpResponse::new(body);
        // The library accepts only 200 as a success.
        *converted.status_mut() = if response.status.is_success() { http::StatusCode::OK } else { response.status };
        Ok(converted)
    }

    fn finish(self, outcome: TokenResult) -> Result<GrantedToken, Refusal> {
        let status = self.status.take();
        let failed = |kind: ErrorKind, what: &str| {
            self.about(match status {
                Some(status) => Error::new(kind, format!("{what} (HTTP {status})")).status(status),
                None => Error::new(kind, what),
            })
        };
        let granted = match outcome {
            Ok(granted) => granted,
            Err(RequestTokenError::Request(Passed(error))) => return Err(Refusal::Other(error)),
            Err(RequestTokenError::ServerResponse(response)) => return Err(self.refusal(&response, status)),
            Err(RequestTokenError::Parse(..) | RequestTokenError::Other(_)) => {
                let (kind, what) = match status {
                    Some(401) => (ErrorKind::NotSignedIn, "the server rejected the client"),
                    Some(403) => (ErrorKind::Refused, "the server denied access"),
                    Some(404) => (ErrorKind::NotFound, "the token endpoint was not found"),
                    _ => (ErrorKind::Other, "unexpected response from the token endpoint"),
                };
                return Err(Refusal::Other(failed(kind, what).hint(CHECK_URL)));
            }
        };
        if granted.token_type.as_ref().is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(Refusal::Other(failed(ErrorKind::Other, "the granted token is not a bearer token")));
        }
        let unreadable = |_| Refusal::Other(failed(ErrorKind::Other, "the granted token has an invalid format"));
        let access = AccessToken::parse(granted.access_token.secret()).map_err(unreadable)?;
        let refresh_token = granted.refresh_token.map(|token| Secret::parse("the refresh token", token.secret()));
        Ok(GrantedToken {
            token: Token::granted(access, self.requested_at, granted.expires_in),
            refresh_token: refresh_token.transpose().map_err(unreadable)?,
        })
    }

    /// The meaning of an error response (RFC 6749, section 5.2).
    fn refusal(&self, response: &BasicErrorResponse, status: Option<u16>) -> Refusal {
        let (kind, what, hint) = match response.error() {
            BasicErrorResponseType::InvalidClient => {
                (ErrorKind::NotSignedIn, "the server rejected the client id, or its secret or key", CLIENT)
            }
            BasicErrorResponseType::InvalidGrant => (
                ErrorKind::NotSignedIn,
                "the sign-in has expired or was revoked",
                "sign in again with `bugfender-hooks auth login`",
            ),
            BasicErrorResponseType::UnauthorizedClient | BasicErrorResponseType::InvalidScope => {
                (ErrorKind::Refused, "this client may not sign in this way", CLIENT)
            }
            BasicErrorResponseType::Extension(other) if other == "access_denied" => {
                (ErrorKind::Refused, "the server denied access", CLIENT)
            }
            BasicErrorResponseType::InvalidRequest | BasicErrorResponseType::UnsupportedGrantType => {
                (ErrorKind::NotUnderstood, "the server rejected the request as invalid", CHECK_URL)
            }
            BasicErrorResponseType::Extension(_) => (ErrorKind::Other, "the server granted no token", CHECK_URL),
        };
        let mut text = response.error().as_ref().to_owned();
        if let Some(description) = response.error_description() {
            text = format!("{text}: {description}");
        }
        // The server may repeat what it was sent.
        let secrets = self.secrets.iter().filter(|secret| secret.len() >= 4);
        let text = secrets.fold(text, |text, secret| text.replace(secret.as_str(), "****"));
        let text = crate::domain::excerpt(&text, 200);
        let code = status.unwrap_or_default();
        let error = self.about(Error::new(kind, format!("{what} (HTTP {code}): “{text}”")).hint(hint).status(code));
        match response.error() {
            BasicErrorResponseType::InvalidGrant => Refusal::InvalidGrant(error),
            _ => Refusal::Other(error),
        }
    }

    /// Adds the context to an error.
    fn about(&self, error: Error) -> Error {
        error.about(format_args!("could not get a token from {}", self.endpoint.origin))
    }
}

const CHECK_URL: &str = "check --api-url; `bugfender-hooks doctor` shows which installation is used";
const CLIENT: &str = "check the client id and its secret or key in the Bugfender dashboard";

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

/// The one scope there is (seen in published clients).
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

/// The endpoints, and a client to call them with.
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
    /// The refresh token that takes the place of the one before it.
    pub refresh_token: Option<Secret>,
}

/// Why the token endpoint granted nothing.
#[derive(Debug)]
pub enum Refusal {
    /// The refresh token or code is not good, or not any more (`invalid_grant`).
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

/// A sign-in in a browser that has begun.
#[derive(Debug)]
pub struct Authorization {
    /// Where the browser is to go.
    pub url: Url,
    /// What the answer must repeat.
    state: CsrfToken,
    verifier: PkceCodeVerifier,
    redirect: RedirectUrl,
}

impl Authorization {
    /// Whether an answer's `state` is that of this authorization.
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

    /// A token for the credentials of a service account.
    ///
    /// # Errors
    /// As the server says, or the network.
    pub async fn client_credentials(&self, client_id: &ClientId, proof: &Proof) -> Result<GrantedToken, Refusal> {
        let (secret, assertion) = match proof {
            Proof::Secret(secret) => (Some(secret), None),
            Proof::Key(path) => (None, Some(assertion::sign(client_id, token_url(&self.origin).as_str(), path)?)),
        };
        let call = match (secret, &assertion) {
            // An assertion works once: an attempt that may have been seen is not made again with it.
            (_, Some(assertion)) => self.call(Repeat::OnlyIfNotCarriedOut, &[assertion]),
            (secret, None) => self.call(Repeat::Idempotent, &[secret.map_or("", Secret::expose)]),
        };
        let oauth = self.oauth(Some(client_id), secret)?;
        let mut request = oauth.exchange_client_credentials();
        if let Some(assertion) = assertion {
            request = request
                .add_extra_param("client_assertion_type", assertion::TYPE)
                .add_extra_param("client_assertion", assertion);
        }
        let outcome = request.request_async(&|request| call.send(request)).await;
        call.finish(outcome)
    }

    /// A token for a refresh token. It is not sent again once it may have been taken: it works once.
    ///
    /// # Errors
    /// `InvalidGrant` when the refresh token is not good any more.
    pub async fn refresh(
        &self,
        client_id: Option<&ClientId>,
        client_secret: Option<&Secret>,
        refresh_token: &Secret,
    ) -> Result<GrantedToken, Refusal> {
        let secrets = [refresh_token.expose(), client_secret.map_or("", Secret::expose)];
        let call = self.call(Repeat::OnlyIfNotCarriedOut, &secrets);
        let oauth = self.oauth(client_id, client_secret)?;
        let refresh_token = RefreshToken::new(refresh_token.expose().to_owned());
        let outcome = oauth.exchange_refresh_token(&refresh_token).request_async(&|request| call.send(request)).await;
        call.finish(outcome)
    }

    /// Begins a sign-in in a browser, which ends at `redirect`: PKCE with S256 (RFC 7636), and a fresh `state`.
    ///
    /// # Errors
    /// None but a bug's.
    pub fn authorize(&self, client_id: &ClientId, redirect: &Url) -> Result<Authorization> {
        let redirect = RedirectUrl::from_url(redirect.clone());
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let oauth = self.oauth(Some(client_id), None)?.set_redirect_uri(redirect.clone());
        let request = oauth.authorize_url(CsrfToken::new_random).add_scope(Scope::new(SCOPE.to_owned()));
        let (url, state) = request.set_pkce_challenge(challenge).url();
        Ok(Authorization { url, state, verifier, redirect })
    }

    /// Ends a sign-in in a browser: a token for the code that it brought. A code works once, and so is sent once.
    ///
    /// # Errors
    /// As the server says, or the network.
    pub async fn exchange(
        &self,
        authorization: Authorization,
        client_id: &ClientId,
        client_secret: Option<&Secret>,
        code: String,
    ) -> Result<GrantedToken, Refusal> {
        let secrets = [code.as_str(), authorization.verifier.secret(), client_secret.map_or("", Secret::expose)];
        let call = self.call(Repeat::OnlyIfNotCarriedOut, &secrets);
        let oauth = self.oauth(Some(client_id), client_secret)?.set_redirect_uri(authorization.redirect);
        let request = oauth.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(authorization.verifier);
        let outcome = request.request_async(&|request| call.send(request)).await;
        call.finish(outcome)
    }

    fn oauth(&self, client_id: Option<&ClientId>, client_secret: Option<&Secret>) -> Result<OauthClient> {
        let bug = |error: url::ParseError| Error::new(ErrorKind::Other, error.to_string());
        let id = oauth2::ClientId::new(client_id.map_or_else(String::new, ToString::to_string));
        let mut client = oauth2::Client::new(id)
            .set_auth_uri(AuthUrl::new(self.origin.url(["auth", "authorize"]).into()).map_err(bug)?)
            .set_token_uri(TokenUrl::new(token_url(&self.origin).into()).map_err(bug)?)
            // Id and secret in the form, as published clients do.
            .set_auth_type(AuthType::RequestBody);
        if let Some(secret) = client_secret {
            client = client.set_client_secret(ClientSecret::new(secret.expose().to_owned()));
        }
        Ok(client)
    }

    fn call(&self, repeat: Repeat, secrets: &[&str]) -> TokenRequest<'_> {
        // A server may repeat them as they were meant, as they were sent, or in JSON.
        let forms = |secret: &&str| {
            let sent: String = byte_serialize(secret.as_bytes()).collect();
            let json = serde_json::Value::from(*secret).to_string();
            [(*secret).to_owned(), sent.replace('+', "%20"), sent, json.trim_matches('"').to_owned()]
        };
        TokenRequest {
            endpoint: self,
            repeat,
            began: Timestamp::now(),
            secrets: secrets.iter().flat_map(forms).collect(),
            status: RefCell::new(None),
        }
    }
}

/// The token endpoint.
pub fn token_url(origin: &ApiOrigin) -> Url {
    origin.url(["auth", "token"])
}

/// One request to the token endpoint. Not `Debug`: it knows secrets.
struct TokenRequest<'a> {
    endpoint: &'a TokenEndpoint,
    repeat: Repeat,
    /// The life of a token is counted from before it was asked for.
    began: Timestamp,
    secrets: Vec<String>,
    status: RefCell<Option<u16>>,
}

/// An error of ours on its way through the library.
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
            // A client that is not known is not named, where the library would send an empty name.
            .extend_pairs(form_urlencoded::parse(request.body()).filter(|(_, value)| !value.is_empty()))
            .finish();
        let request = Request {
            method: Method::POST,
            url: token_url(&self.endpoint.origin),
            body: Some(RequestBody::Form(SecretString::from(form))),
            repeat: self.repeat,
        };
        let answer =
            self.endpoint.http.send(&request, None).await.map_err(|failure| Passed(self.tell(failure.error)))?;
        let status = answer.status.as_u16();
        *self.status.borrow_mut() = Some(status);
        let unusable = match status {
            408 | 429 | 500.. => Some((ErrorKind::Unavailable, "the server asks to try later")),
            _ if answer.is_html() => Some((ErrorKind::Other, "a web page answered in place of the token endpoint")),
            _ => None,
        };
        if let Some((kind, what)) = unusable {
            let secrets: Vec<&str> = self.secrets.iter().map(String::as_str).collect();
            let quote = answer.quote(&secrets).map_or_else(String::new, |quote| format!(": “{quote}”"));
            let error = Error::new(kind, format!("{what} (HTTP {status}){quote}")).status(status);
            let hint = if kind == ErrorKind::Other { WRONG_PLACE } else { "try again later; the sign-in is kept" };
            return Err(Passed(self.tell(error.hint(hint))));
        }
        let body = answer.body.map_err(|_| {
            Passed(self.tell(Error::new(ErrorKind::Unavailable, format!("the answer broke off (HTTP {status})"))))
        })?;
        let mut response = HttpResponse::new(body);
        // Any success will do.
        *response.status_mut() = if answer.status.is_success() { http::StatusCode::OK } else { answer.status };
        Ok(response)
    }

    fn finish(self, outcome: TokenResult) -> Result<GrantedToken, Refusal> {
        let status = self.status.take();
        let failed = |kind: ErrorKind, what: &str| {
            self.tell(match status {
                Some(status) => Error::new(kind, format!("{what} (HTTP {status})")).status(status),
                None => Error::new(kind, what),
            })
        };
        let answer = match outcome {
            Ok(answer) => answer,
            Err(RequestTokenError::Request(Passed(error))) => return Err(Refusal::Other(error)),
            Err(RequestTokenError::ServerResponse(said)) => return Err(self.refusal(&said, status)),
            Err(RequestTokenError::Parse(..) | RequestTokenError::Other(_)) => {
                let (kind, what) = match status {
                    Some(401) => (ErrorKind::NotSignedIn, "the server does not accept the client"),
                    Some(403) => (ErrorKind::Refused, "the server refused"),
                    Some(404) => (ErrorKind::NotFound, "there is no token endpoint"),
                    _ => (ErrorKind::Other, "the answer is not one of a token endpoint"),
                };
                return Err(Refusal::Other(failed(kind, what).hint(WRONG_PLACE)));
            }
        };
        if answer.token_type.as_ref().is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(Refusal::Other(failed(ErrorKind::Other, "the token it gave is not a bearer token")));
        }
        let unreadable = |_| Refusal::Other(failed(ErrorKind::Other, "the token it gave can't be used"));
        let access = AccessToken::parse(answer.access_token.secret()).map_err(unreadable)?;
        let refresh_token = answer.refresh_token.map(|token| Secret::parse("the refresh token", token.secret()));
        Ok(GrantedToken {
            token: Token::granted(access, self.began, answer.expires_in),
            refresh_token: refresh_token.transpose().map_err(unreadable)?,
        })
    }

    /// What an error of RFC 6749, section 5.2 means.
    fn refusal(&self, said: &BasicErrorResponse, status: Option<u16>) -> Refusal {
        let (kind, what, hint) = match said.error() {
            BasicErrorResponseType::InvalidClient => {
                (ErrorKind::NotSignedIn, "the server does not accept the client id or what proves it", CLIENT)
            }
            BasicErrorResponseType::InvalidGrant => (
                ErrorKind::NotSignedIn,
                "the sign-in is not good any more",
                "sign in again with `bugfender-hooks auth login`",
            ),
            BasicErrorResponseType::UnauthorizedClient | BasicErrorResponseType::InvalidScope => {
                (ErrorKind::Refused, "the server does not let this client sign in so", CLIENT)
            }
            BasicErrorResponseType::Extension(other) if other == "access_denied" => {
                (ErrorKind::Refused, "the server refused", CLIENT)
            }
            BasicErrorResponseType::InvalidRequest | BasicErrorResponseType::UnsupportedGrantType => {
                (ErrorKind::NotUnderstood, "the server did not understand the request", WRONG_PLACE)
            }
            BasicErrorResponseType::Extension(_) => (ErrorKind::Other, "the server gave no token", WRONG_PLACE),
        };
        let mut text = said.error().as_ref().to_owned();
        if let Some(description) = said.error_description() {
            text = format!("{text}: {description}");
        }
        // It may repeat what it was sent.
        let secrets = self.secrets.iter().filter(|secret| secret.len() >= 4);
        let text = secrets.fold(text, |text, secret| text.replace(secret.as_str(), "****"));
        let text = crate::domain::excerpt(&text, 200);
        let code = status.unwrap_or_default();
        let error = self.tell(Error::new(kind, format!("{what} (HTTP {code}): “{text}”")).hint(hint).status(code));
        match said.error() {
            BasicErrorResponseType::InvalidGrant => Refusal::InvalidGrant(error),
            _ => Refusal::Other(error),
        }
    }

    /// Says what was being done.
    fn tell(&self, error: Error) -> Error {
        error.about(format_args!("could not get a token from {}", self.endpoint.origin))
    }
}

const WRONG_PLACE: &str = "check --api-url: `bugfender-hooks doctor` shows which installation is used";
const CLIENT: &str = "check the client id and its secret or key in the Bugfender dashboard";

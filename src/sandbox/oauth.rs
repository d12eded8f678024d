//! OAuth 2: client credentials, authorization code with PKCE, rotating refresh tokens.

use std::time::{Duration, Instant};

use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use serde::Deserialize;
use serde_json::json;
use url::{Host, Url};

use super::assertion::ClientKey;
use super::state::{self, Code, Grants, random};
use super::{CLIENT_ID, CLIENT_SECRET, Shared, problem};
use crate::domain::{HostScope, host_scope};

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/auth/authorize", get(authorize)).route("/auth/token", post(token))
}

#[derive(Deserialize)]
struct AuthorizeQuery {
    response_type: Option<String>,
    client_id: Option<String>,
    redirect_uri: Option<String>,
    state: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
}

/// Grants a code without asking anyone.
async fn authorize(State(shared): State<Shared>, Query(query): Query<AuthorizeQuery>) -> Response {
    let redirect = query.redirect_uri.as_deref().and_then(|text| Url::parse(text).ok());
    // A name below localhost may resolve to another machine, which would get the code.
    let loopback = |url: &Url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(address) => host_scope(&address) == HostScope::Loopback,
        None => false,
    };
    let Some(mut redirect) = redirect.filter(loopback) else {
        return problem(StatusCode::BAD_REQUEST, "redirect_uri must be a loopback URL");
    };
    let Some(client_id) = query.client_id.filter(|id| !id.is_empty()) else {
        return problem(StatusCode::BAD_REQUEST, "client_id is missing");
    };
    let plain = query.code_challenge.is_some() && query.code_challenge_method.as_deref() != Some("S256");
    let result = if query.response_type.as_deref() != Some("code") {
        ("error", "unsupported_response_type".to_owned())
    } else if plain {
        ("error", "invalid_request".to_owned())
    } else {
        let code = random(32);
        let bound =
            Code { client_id, redirect_uri: query.redirect_uri.unwrap_or_default(), challenge: query.code_challenge };
        shared.state().grants.codes.insert(code.clone(), bound);
        ("code", code)
    };
    redirect.query_pairs_mut().append_pair(result.0, &result.1);
    if let Some(state) = &query.state {
        redirect.query_pairs_mut().append_pair("state", state);
    }
    (StatusCode::FOUND, [(LOCATION, redirect.to_string())]).into_response()
}

#[derive(Deserialize)]
struct TokenForm {
    grant_type: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    code: Option<String>,
    redirect_uri: Option<String>,
    code_verifier: Option<String>,
    refresh_token: Option<String>,
    client_assertion: Option<String>,
    client_assertion_type: Option<String>,
}

async fn token(State(shared): State<Shared>, Form(form): Form<TokenForm>) -> Response {
    let mut state = shared.state();
    let url = format!("{}/auth/token", state.url);
    let state::State { grants, client_key, .. } = &mut *state;
    let granted = match form.grant_type.as_deref() {
        Some("client_credentials") => client_credentials(grants, client_key.as_ref(), &url, &form),
        Some("authorization_code") => exchange_code(grants, &form),
        Some("refresh_token") => rotate(grants, &form),
        Some(_) => Err((StatusCode::BAD_REQUEST, "unsupported_grant_type")),
        None => Err((StatusCode::BAD_REQUEST, "invalid_request")),
    };
    match granted {
        Ok(Granted { client_id, with_refresh }) => grant(grants, client_id, with_refresh, shared.options.token_life),
        Err((status, error)) => (status, Json(json!({ "error": error }))).into_response(),
    }
}

/// A valid grant: the client, and whether it gets a refresh token.
struct Granted {
    client_id: String,
    with_refresh: bool,
}

type GrantResult = Result<Granted, (StatusCode, &'static str)>;

const INVALID_GRANT: (StatusCode, &str) = (StatusCode::BAD_REQUEST, "invalid_grant");

fn client_credentials(grants: &mut Grants, key: Option<&ClientKey>, audience: &str, form: &TokenForm) -> GrantResult {
    let known = match (&form.client_assertion, key) {
        (Some(assertion), Some(key)) => {
            let jti = key.verify(form.client_assertion_type.as_deref(), assertion, audience);
            form.client_id.as_deref().is_none_or(|id| id == CLIENT_ID)
                && jti.is_some_and(|jti| grants.assertions.insert(jti))
        }
        (Some(_), None) => false,
        (None, _) => {
            form.client_id.as_deref() == Some(CLIENT_ID) && form.client_secret.as_deref() == Some(CLIENT_SECRET)
        }
    };
    if !known {
        return Err((StatusCode::UNAUTHORIZED, "invalid_client"));
    }
    Ok(Granted { client_id: CLIENT_ID.to_owned(), with_refresh: false })
}

/// A code can be used once, by the same client, with the same redirect and the verifier of its challenge (RFC 7636).
fn exchange_code(grants: &mut Grants, form: &TokenForm) -> GrantResult {
    let code = form.code.as_deref().and_then(|code| grants.codes.remove(code)).ok_or(INVALID_GRANT)?;
    let verified = match (&code.challenge, &form.code_verifier) {
        (None, _) => true,
        (Some(challenge), Some(verifier)) => {
            let hash = digest::digest(&digest::SHA256, verifier.as_bytes());
            *challenge == URL_SAFE_NO_PAD.encode(hash)
        }
        (Some(_), None) => false,
    };
    let same_client = form.client_id.as_deref() == Some(&code.client_id);
    let same_redirect = form.redirect_uri.as_deref() == Some(&code.redirect_uri);
    if verified && same_client && same_redirect {
        Ok(Granted { client_id: code.client_id, with_refresh: true })
    } else {
        Err(INVALID_GRANT)
    }
}

/// A refresh token can be used once; the response contains its successor.
fn rotate(grants: &mut Grants, form: &TokenForm) -> GrantResult {
    let client_id = form.refresh_token.as_deref().and_then(|token| grants.refresh.remove(token));
    client_id.map(|client_id| Granted { client_id, with_refresh: true }).ok_or(INVALID_GRANT)
}

fn grant(grants: &mut Grants, client_id: String, with_refresh: bool, life: Duration) -> Response {
    let access = random(40);
    grants.access.insert(access.clone(), Instant::now() + life);
    let mut response =
        json!({"access_token": access, "token_type": "Bearer", "expires_in": life.as_secs(), "scope": "all"});
    if with_refresh {
        let refresh = random(40);
        response["refresh_token"] = refresh.clone().into();
        grants.refresh.insert(refresh, client_id);
    }
    ([(CACHE_CONTROL, "no-store")], Json(response)).into_response()
}

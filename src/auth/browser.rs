//! The loopback redirect of a sign-in in a browser (RFC 8252, section 7.3), which accepts one callback.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use axum::http::{Method, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::any;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// The path of the redirect.
const PATH: &str = "/callback";

/// How long to wait for the page to be sent to the browser.
const PAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// A listener for the redirect, on a free port.
#[derive(Debug)]
pub struct Loopback {
    listener: TcpListener,
    redirect: Url,
}

/// The parameters of the redirect (RFC 6749, section 4.1.2). Not `Debug`, as the code is a secret.
#[derive(Deserialize)]
pub struct Callback {
    /// The code to exchange for a token.
    pub code: Option<String>,
    /// The `state` of the authorization request.
    pub state: Option<String>,
    /// The error code, if there is no authorization code.
    pub error: Option<String>,
    /// The human-readable error.
    pub error_description: Option<String>,
}

/// The outcome of the sign-in, which decides the page that the browser shows.
#[derive(Debug, Clone, Copy)]
enum CallbackOutcome {
    /// Signed in.
    SignedIn,
    /// Not signed in; the error is in the terminal.
    Failed,
}

type ReceivedCallback = (Callback, oneshot::Sender<CallbackOutcome>);
type Waiting = Arc<Mutex<Option<oneshot::Sender<ReceivedCallback>>>>;

impl Loopback {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// When the system provides none.
    pub async fn open() -> Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let redirect = format!("http://{}{PATH}", listener.local_addr()?);
        let redirect = Url::parse(&redirect).map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?;
        Ok(Self { listener, redirect })
    }

    /// The redirect URL.
    pub fn redirect(&self) -> &Url {
        &self.redirect
    }

    /// Waits for the redirect from the browser.
    ///
    /// # Errors
    /// When the server stops before it.
    pub async fn callback(self) -> Result<(Callback, Page)> {
        let (send, received) = oneshot::channel::<ReceivedCallback>();
        let (stop, stopped) = oneshot::channel::<()>();
        let waiting: Waiting = Arc::new(Mutex::new(Some(send)));
        let router = Router::new().route(PATH, any(receive)).with_state(waiting);
        let server = axum::serve(self.listener, router).with_graceful_shutdown(async { drop(stopped.await) });
        let server = tokio::spawn(async move {
            // If the server fails, the wait below ends with an error.
            let _ = server.await;
        });
        let (callback, outcome) = received
            .await
            .map_err(|_| Error::new(ErrorKind::Other, "the redirect from the browser was not received"))?;
        Ok((callback, Page { outcome, stop, server }))
    }
}

/// The page that the browser waits for until the outcome of the sign-in is known.
#[derive(Debug)]
pub struct Page {
    outcome: oneshot::Sender<CallbackOutcome>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Page {
    /// Sends the page, without waiting long for a browser that does not read it.
    pub async fn show(self, signed_in: bool) {
        // Fails if the browser has closed the connection.
        let _ = self.outcome.send(if signed_in { CallbackOutcome::SignedIn } else { CallbackOutcome::Failed });
        drop(self.stop);
        let _ = tokio::time::timeout(PAGE_TIMEOUT, self.server).await;
    }
}

async fn receive(State(waiting): State<Waiting>, method: Method, Query(callback): Query<Callback>) -> Response {
    // Link previews and probes must not use up the callback.
    if method != Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if callback.code.is_none() && callback.error.is_none() {
        return page(StatusCode::BAD_REQUEST, "Nothing to do here", "This page only completes a sign-in.");
    }
    let first = waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(first) = first else {
        return page(StatusCode::GONE, "This sign-in has already ended", BACK);
    };
    let (send, outcome) = oneshot::channel();
    let _ = first.send((callback, send));
    match outcome.await {
        Ok(CallbackOutcome::SignedIn) => page(StatusCode::OK, "You are signed in", BACK),
        Ok(CallbackOutcome::Failed) | Err(_) => {
            page(StatusCode::BAD_REQUEST, "You are not signed in", "Return to the terminal for details.")
        }
    }
}

const BACK: &str = "You can close this page and return to the terminal.";

/// A page of constant text, which contains nothing from the request.
fn page(status: StatusCode, title: &str, text: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>bugfender-hooks: {title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\">\
         <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem}}</style>\
         <h1>{title}</h1><p>{text}</p></html>\n"
    );
    let headers = [
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
    ];
    (status, headers, Html(html)).into_response()
}

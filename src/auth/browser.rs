//! The loopback redirect of a sign-in in a browser (RFC 8252, section 7.3): one answer is taken, on this machine alone.

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

/// How long the page may take to reach the browser.
const GOODBYE: Duration = Duration::from_secs(2);

/// A listener for the redirect, on a free port.
#[derive(Debug)]
pub struct Loopback {
    listener: TcpListener,
    redirect: Url,
}

/// What the browser brings (RFC 6749, section 4.1.2). Not `Debug`: the code is a secret.
#[derive(Deserialize)]
pub struct Callback {
    /// The code to exchange for a token.
    pub code: Option<String>,
    /// What came with the authorization request.
    pub state: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
    /// The same for people.
    pub error_description: Option<String>,
}

/// What the answer came to, which decides the page that the browser shows.
#[derive(Debug, Clone, Copy)]
enum CallbackOutcome {
    /// Signed in.
    SignedIn,
    /// Not signed in; the terminal says why.
    Failed,
}

type CallbackAnswer = (Callback, oneshot::Sender<CallbackOutcome>);
type Waiting = Arc<Mutex<Option<oneshot::Sender<CallbackAnswer>>>>;

impl Loopback {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// When the system gives none.
    pub async fn open() -> Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let redirect = format!("http://{}{PATH}", listener.local_addr()?);
        let redirect = Url::parse(&redirect).map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?;
        Ok(Self { listener, redirect })
    }

    /// Where the browser is to be sent back to.
    pub fn redirect(&self) -> &Url {
        &self.redirect
    }

    /// Waits for the browser to come back.
    ///
    /// # Errors
    /// When its answer cannot be taken.
    pub async fn callback(self) -> Result<(Callback, Page)> {
        let (send, answered) = oneshot::channel::<CallbackAnswer>();
        let (stop, stopped) = oneshot::channel::<()>();
        let waiting: Waiting = Arc::new(Mutex::new(Some(send)));
        let router = Router::new().route(PATH, any(take)).with_state(waiting);
        let server = axum::serve(self.listener, router).with_graceful_shutdown(async { drop(stopped.await) });
        let server = tokio::spawn(async move {
            // The listener's errors are told by whoever waits in vain.
            let _ = server.await;
        });
        let (callback, verdict) =
            answered.await.map_err(|_| Error::new(ErrorKind::Other, "the browser's answer could not be taken"))?;
        Ok((callback, Page { verdict, stop, server }))
    }
}

/// The page that the browser waits for, to be shown once it is known what its answer came to.
#[derive(Debug)]
pub struct Page {
    verdict: oneshot::Sender<CallbackOutcome>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Page {
    /// Shows it. A browser that has gone away is not waited for.
    pub async fn show(self, signed_in: bool) {
        // Nobody is there to take it from then on.
        let _ = self.verdict.send(if signed_in { CallbackOutcome::SignedIn } else { CallbackOutcome::Failed });
        drop(self.stop);
        let _ = tokio::time::timeout(GOODBYE, self.server).await;
    }
}

async fn take(State(waiting): State<Waiting>, method: Method, Query(callback): Query<Callback>) -> Response {
    // Previews and probes are not the person's answer.
    if method != Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if callback.code.is_none() && callback.error.is_none() {
        return page(StatusCode::BAD_REQUEST, "Nothing to see here", "This page is a part of signing in.");
    }
    let first = waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(first) = first else {
        return page(StatusCode::GONE, "This sign-in is over", BACK);
    };
    let (send, verdict) = oneshot::channel();
    let _ = first.send((callback, send));
    match verdict.await {
        Ok(CallbackOutcome::SignedIn) => page(StatusCode::OK, "You are signed in", BACK),
        Ok(CallbackOutcome::Failed) | Err(_) => {
            page(StatusCode::BAD_REQUEST, "You are not signed in", "Go back to the terminal: it says why.")
        }
    }
}

const BACK: &str = "You can close this page and go back to the terminal.";

/// A page of fixed words: nothing that came with the request is repeated in it.
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

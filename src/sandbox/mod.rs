//! A local stand-in for Bugfender with the same API and faults on demand. Used by tests and `demo`.
//!
//! The API has the same paths as Bugfender's; the endpoints that control the sandbox are under `/sandbox/`.

mod api;
mod assertion;
mod control;
mod deliver;
mod emitted;
mod extract;
mod fault;
mod guard;
mod issues;
mod oauth;
mod serve;
mod state;
mod summary;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use tokio::net::TcpListener;

pub use fault::Fault;

use self::state::State;
use crate::error::{Error, ErrorKind, Result};

/// The client id of the only service account.
pub const CLIENT_ID: &str = "sandbox-client";
/// Its secret. The sandbox protects nothing, so it is a constant.
pub const CLIENT_SECRET: &str = "sandbox-secret";

/// The behaviour of a sandbox.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// A token that never expires; generated if absent.
    pub token: Option<String>,
    /// A file that stores the hooks between runs.
    pub state: Option<PathBuf>,
    /// The minimum latency of every API response.
    pub latency: Duration,
    /// The faults to inject, in order of precedence.
    pub faults: Vec<Fault>,
    /// A PEM file with the RSA public key of the service account, an alternative to the secret.
    pub client_key: Option<PathBuf>,
    /// The lifetime of access tokens granted by OAuth.
    pub token_life: Duration,
    /// How old the events may be that the API lists; no limit if absent.
    pub retention: Option<Duration>,
    /// Whether the API lists events under other ids than it delivers them.
    pub foreign_ids: bool,
    /// The order in which the API lists events.
    pub issues_order: IssuesOrder,
}

/// The order of a list of events. Which one Bugfender's has is not documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IssuesOrder {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
}

impl IssuesOrder {
    /// All names, for help and completion.
    pub const NAMES: [&str; 2] = ["newest", "oldest"];
}

impl FromStr for IssuesOrder {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "newest" => Ok(Self::Newest),
            "oldest" => Ok(Self::Oldest),
            _ => Err(format!("write one of {}", Self::NAMES.join(", "))),
        }
    }
}

/// The approximate lifetime of Bugfender's access tokens.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            token: None,
            state: None,
            latency: Duration::ZERO,
            faults: Vec::new(),
            client_key: None,
            token_life: TOKEN_LIFE,
            retention: None,
            foreign_ids: false,
            issues_order: IssuesOrder::default(),
        }
    }
}

/// A sandbox that is bound to its address and not yet serving.
pub struct Sandbox {
    listener: TcpListener,
    address: SocketAddr,
    shared: Shared,
}

impl Sandbox {
    /// Binds a sandbox; port 0 picks a free one.
    ///
    /// # Errors
    /// When the address cannot be bound, or the state file cannot be read or written.
    pub async fn bind(address: SocketAddr, options: SandboxOptions) -> Result<Self> {
        let cannot = |error: std::io::Error| {
            Error::new(ErrorKind::of_bind(&error), format!("the sandbox cannot listen on {address}: {error}"))
                .hint("choose another address with --listen; port 0 picks a free one")
                .source(error)
        };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let state = State::load(&options, format!("http://{address}"))?;
        // Fails now if the state file cannot be written, rather than when a hook is stored.
        state.hooks.save(options.state.as_deref())?;
        Ok(Self { listener, address, shared: Shared::new(options, state) })
    }

    /// The URL of the sandbox.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The token that never expires.
    pub fn token(&self) -> String {
        self.shared.state().token.clone()
    }

    /// Serves until `stop` ends.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let router = router(self.shared);
        tokio::select! {
            () = serve::accept(self.listener, router) => {}
            () = stop => {}
        }
    }
}

fn router(shared: Shared) -> Router {
    let not_found = || async { problem(StatusCode::NOT_FOUND, "not found") };
    let not_allowed = || async { problem(StatusCode::METHOD_NOT_ALLOWED, "method not allowed") };
    let guard = axum::middleware::from_fn_with_state(shared.clone(), guard::guard);
    // Requests to unknown paths are logged too, as they reveal mistakes of a client.
    let lists = Router::new().merge(issues::routes()).merge(summary::routes());
    let api = Router::new().merge(api::routes()).merge(lists).merge(oauth::routes()).fallback(not_found);
    let api = api.method_not_allowed_fallback(not_allowed).layer(guard);
    control::routes().with_state(shared.clone()).fallback_service(api.with_state(shared))
}

/// The state shared by all connections.
#[derive(Clone)]
struct Shared {
    options: Arc<SandboxOptions>,
    state: Arc<Mutex<State>>,
}

impl Shared {
    fn new(options: SandboxOptions, state: State) -> Self {
        Self { options: Arc::new(options), state: Arc::new(Mutex::new(state)) }
    }

    /// Locks the state. The guard is never held across an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time from which on events are listed.
    fn horizon(&self, now: Timestamp) -> Timestamp {
        let horizon = |retention: Duration| now.checked_sub(retention).unwrap_or(Timestamp::MIN);
        self.options.retention.map_or(Timestamp::MIN, horizon)
    }
}

/// An error response in the format of the API.
fn problem(status: StatusCode, message: &str) -> Response {
    (status, axum::Json(serde_json::json!({"code": status.as_u16(), "message": message}))).into_response()
}

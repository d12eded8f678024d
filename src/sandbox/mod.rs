//! A local stand-in for Bugfender: the contract, with faults on demand. Tests and `demo` use it.
//!
//! The API lives where Bugfender has it; what steers the sandbox is under `/sandbox/`.

mod api;
mod assertion;
mod control;
mod deliver;
mod fault;
mod guard;
mod oauth;
mod serve;
mod state;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

pub use fault::Fault;

use self::state::State;
use crate::error::{Error, ErrorKind, Result};

/// The service account that `/auth/token` knows.
pub const CLIENT_ID: &str = "sandbox-client";
/// Its secret. Nothing here is worth hiding.
pub const CLIENT_SECRET: &str = "sandbox-secret";

/// How a sandbox is to behave.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// The token that never expires; made up when absent.
    pub token: Option<String>,
    /// Where hooks are kept between runs.
    pub state: Option<PathBuf>,
    /// How long every answer of the API takes at the least.
    pub latency: Duration,
    /// What goes wrong, in order.
    pub faults: Vec<Fault>,
    /// A PEM file with the service account's RSA public key, which it may prove itself with instead of the secret.
    pub client_key: Option<PathBuf>,
    /// How long an access token lives that OAuth gave out.
    pub token_life: Duration,
}

/// The life of an access token of Bugfender's, about.
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
    /// When the address cannot be had, or the state file can be neither read nor made.
    pub async fn bind(address: SocketAddr, options: SandboxOptions) -> Result<Self> {
        let cannot = |error: std::io::Error| {
            Error::new(ErrorKind::of_bind(&error), format!("the sandbox can't listen on {address}: {error}"))
                .hint("choose another address with --listen; port 0 picks a free one")
                .source(error)
        };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let state = State::load(&options, format!("http://{address}"))?;
        // A file that cannot be written shows before anybody's hook is to be kept in it.
        state.hooks.save(options.state.as_deref())?;
        Ok(Self { listener, address, shared: Shared::new(options, state) })
    }

    /// Where it will answer.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The token that it takes.
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
    let nothing = || async { problem(StatusCode::NOT_FOUND, "there is nothing here") };
    let guard = axum::middleware::from_fn_with_state(shared.clone(), guard::guard);
    // Paths that are not there are logged too: that is where a wrong one shows.
    let api = Router::new().merge(api::routes()).merge(oauth::routes()).fallback(nothing).layer(guard);
    control::routes().with_state(shared.clone()).fallback_service(api.with_state(shared))
}

/// What all connections share.
#[derive(Clone)]
struct Shared {
    options: Arc<SandboxOptions>,
    state: Arc<Mutex<State>>,
}

impl Shared {
    fn new(options: SandboxOptions, state: State) -> Self {
        Self { options: Arc::new(options), state: Arc::new(Mutex::new(state)) }
    }

    /// The state, for a moment: never held across an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error as the API words it.
fn problem(status: StatusCode, message: &str) -> Response {
    (status, axum::Json(serde_json::json!({ "message": message }))).into_response()
}

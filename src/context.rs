//! What flags, environment and files come to: settings at once; client, registry and runtime when they are asked for.

use std::cell::OnceCell;
use std::future::Future;
use std::io::{self, IsTerminal};

use tokio::runtime::{Builder, Runtime};

use crate::api::AuthenticatedApi;
use crate::auth::{self, TokenSource};
use crate::config::{Environment, Settings};
use crate::domain::{AccessToken, ApiOrigin};
use crate::error::{Error, ErrorKind, Result};
use crate::http;
use crate::platform::StopSignals;
use crate::render::Output;
use crate::store::Registry;
use crate::store::sqlite::SqliteRegistry;

/// Everything a command works with.
pub struct Context {
    settings: Settings,
    environment: Environment,
    output: Output,
    runtime: OnceCell<Runtime>,
    interactive: bool,
}

impl Context {
    /// A context for one run.
    pub fn new(settings: Settings, environment: Environment, output: Output) -> Self {
        let interactive = io::stdin().is_terminal() && io::stderr().is_terminal();
        Self { settings, environment, output, runtime: OnceCell::new(), interactive }
    }

    /// The settings with their sources.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The environment variables.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Where to show things.
    pub fn out(&self) -> &Output {
        &self.output
    }

    /// Whether somebody sits at a terminal and can answer a question.
    pub fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// The installation to talk to.
    pub fn origin(&self) -> &ApiOrigin {
        &self.settings.api.value
    }

    /// The token and its source, if there is one.
    ///
    /// # Errors
    /// When a token is there but cannot be read.
    pub fn token(&self) -> Result<Option<(AccessToken, TokenSource)>> {
        auth::find_token(&self.environment, self.origin())
    }

    /// The token, which must be there.
    ///
    /// # Errors
    /// `NotSignedIn` when there is none.
    pub fn require_token(&self) -> Result<(AccessToken, TokenSource)> {
        self.token()?.ok_or_else(|| {
            Error::new(ErrorKind::NotSignedIn, format!("not signed in to {}", self.origin()))
                .hint("run `bugfender-hooks auth login --with-token`, or set BUGFENDER_API_TOKEN")
        })
    }

    /// The client for the API, with the token: the only road to it.
    ///
    /// # Errors
    /// `NotSignedIn` without a token; a usage error for plain http to another machine.
    pub fn api(&self) -> Result<AuthenticatedApi> {
        let options = self.http_options()?;
        let (token, _) = self.require_token()?;
        AuthenticatedApi::new(self.origin().clone(), token, options)
    }

    /// How to reach the installation.
    ///
    /// # Errors
    /// A usage error for plain http to another machine, where others could read the token.
    pub fn http_options(&self) -> Result<http::Options> {
        let origin = self.origin();
        if origin.is_plain_http() && !origin.is_loopback() && !self.settings.allow_http {
            let message = format!("{origin} is plain http: the token could be read on its way");
            return Err(Error::usage(message).hint("use https, or give --allow-http if the network is trusted"));
        }
        Ok(http::Options {
            attempt_timeout: self.settings.timeout.value,
            total_timeout: self.settings.total_timeout(),
            // A proxy on the way may be reached by https even where the installation is not.
            tls: !(origin.is_plain_http() && origin.is_loopback()),
            proxy: !origin.is_loopback(),
            custom_roots: self.environment.has("SSL_CERT_FILE") || self.environment.has("SSL_CERT_DIR"),
        })
    }

    /// The registry, made if need be.
    ///
    /// # Errors
    /// A store error.
    pub fn registry(&self) -> Result<Box<dyn Registry>> {
        let store = self.settings.store_path()?;
        Ok(Box::new(SqliteRegistry::open(store.path())?))
    }

    /// The registry, if there is one: for commands that change nothing.
    ///
    /// # Errors
    /// A store error.
    pub fn existing_registry(&self) -> Result<Option<Box<dyn Registry>>> {
        let store = self.settings.store_path()?;
        let registry = SqliteRegistry::open_existing(store.path())?;
        Ok(registry.map(|registry| Box::new(registry) as Box<dyn Registry>))
    }

    /// Runs a future to its end on a single-threaded runtime, made at the first call.
    ///
    /// # Errors
    /// When the system refuses the runtime; or the future's own.
    pub fn block_on<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        if self.runtime.get().is_none() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            // Empty a line ago, and nobody else is here to fill it.
            let _ = self.runtime.set(runtime);
        }
        let runtime = self.runtime.get().ok_or_else(|| Error::new(ErrorKind::Other, "there is no runtime"))?;
        runtime.block_on(future)
    }
}

/// The end of what Ctrl-C stops.
pub fn interrupted(what: &str) -> Error {
    Error::new(ErrorKind::Interrupted, format!("interrupted {what}"))
}

/// Waits for `future`, unless Ctrl-C or SIGTERM comes first: then `None`, and the future is dropped where it stood.
pub async fn unless_interrupted<T>(future: impl Future<Output = T>) -> Option<T> {
    let Ok(mut signals) = StopSignals::listen() else { return Some(future.await) };
    tokio::select! {
        value = future => Some(value),
        _ = signals.next() => None,
    }
}

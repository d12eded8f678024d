//! What flags, environment and files come to: settings at once; client, registry and runtime when they are asked for.

use std::cell::{Cell, OnceCell};
use std::fmt::Write;
use std::future::Future;
use std::io::{self, IsTerminal};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::runtime::{Builder, Runtime};

use crate::api::{AuthenticatedApi, TokenProvider};
use crate::auth::{self, KeyringTimeout, Session, StoredCredential, Vault};
use crate::config::{Environment, Settings, Source, Sourced};
use crate::domain::{AccessToken, ApiOrigin};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::Frontend;
use crate::http::{self, Roots};
use crate::platform::StopSignals;
use crate::render::Output;
use crate::store::sqlite::SqliteStore;
use crate::store::{Inbox, Registry, Store};

/// Everything a command works with.
pub struct Context {
    settings: Settings,
    environment: Environment,
    output: Output,
    runtime: OnceCell<Runtime>,
    interactive: bool,
    patience: KeyringTimeout,
    trouble: Cell<Option<Error>>,
    /// Requests to stop, listened for since the first wait; away while something waits.
    signals: Cell<Option<StopSignals>>,
}

impl Context {
    /// A context for one run; `trouble` is what is wrong with the configuration, which is left out of the settings then.
    pub fn new(settings: Settings, environment: Environment, output: Output, trouble: Option<Error>) -> Self {
        let interactive = io::stdin().is_terminal() && io::stderr().is_terminal();
        let patience = if interactive { KeyringTimeout::OfAPerson } else { KeyringTimeout::OfAMachine };
        Self {
            settings,
            environment,
            output,
            runtime: OnceCell::new(),
            interactive,
            patience,
            trouble: Cell::new(trouble),
            signals: Cell::default(),
        }
    }

    /// A context for answering a shell, which asks nobody and no keyring.
    pub fn of_completion(settings: Settings, environment: Environment, output: Output) -> Self {
        let mut context = Self::new(settings, environment, output, None);
        (context.interactive, context.patience) = (false, KeyringTimeout::None);
        context
    }

    /// What is wrong with the configuration, for who looks for trouble.
    pub fn take_trouble(&self) -> Option<Error> {
        self.trouble.take()
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

    /// Where credentials are kept.
    ///
    /// # Errors
    /// A store error when there is no home directory.
    pub fn vault(&self) -> Result<Vault> {
        Vault::open(self.patience)
    }

    /// The credential for the installation, if there is one.
    ///
    /// # Errors
    /// When one is there but cannot be read.
    pub fn credential(&self) -> Result<Option<StoredCredential>> {
        auth::find(&self.environment, &self.settings.profile.value, self.origin(), || self.vault())
    }

    /// The credential, which must be there.
    ///
    /// # Errors
    /// `NotSignedIn` when there is none.
    pub fn require_credential(&self) -> Result<StoredCredential> {
        self.credential()?.ok_or_else(|| {
            let profile = &self.settings.profile.value;
            let of = if profile.is_default() { String::new() } else { format!(" with profile {profile}") };
            Error::new(ErrorKind::NotSignedIn, format!("not signed in to {}{of}", self.origin())).hint(format!(
                "run `bugfender-hooks auth login{}`; in CI set BUGFENDER_CLIENT_ID and BUGFENDER_CLIENT_SECRET, or \
                 BUGFENDER_API_TOKEN",
                self.flags_to_get_here()
            ))
        })
    }

    /// The flags that make another command mean the same profile and installation.
    pub fn flags_to_get_here(&self) -> String {
        let Settings { profile, api, .. } = &self.settings;
        let mut flags = String::new();
        // Writing to a string cannot fail.
        if matches!(profile.source, Source::Flag(_)) {
            let _ = write!(flags, " --profile {}", profile.value);
        }
        if matches!(api.source, Source::Flag(_)) {
            let _ = write!(flags, " --api-url {}", api.value);
        }
        flags
    }

    /// The sign-in in use, which renews its token.
    ///
    /// # Errors
    /// `NotSignedIn` when there is none; a usage error for plain http to another machine.
    pub fn session(&self) -> Result<Session> {
        let options = self.http_options()?;
        let StoredCredential { credential, place, origin, .. } = self.require_credential()?;
        Ok(Session::new(credential, place, origin, self.origin().clone(), options))
    }

    /// The client for the API, with a token: the only road to it.
    ///
    /// # Errors
    /// `NotSignedIn` without a token; a usage error for plain http to another machine.
    pub fn api(&self) -> Result<AuthenticatedApi> {
        let session = self.session()?;
        let must_renew = session.current().is_none();
        let api = AuthenticatedApi::new(self.origin().clone(), Box::new(session), self.http_options()?)?;
        if must_renew {
            // Before anything is recorded or sent that depends on it.
            let signed_in = self.wait(api.sign_in())?;
            signed_in.ok_or_else(|| Error::interrupted("while renewing the token"))??;
        }
        Ok(api)
    }

    /// The client for the API with the token as it is, if there is one that is good: nothing is renewed, whatever the
    /// server says.
    ///
    /// # Errors
    /// `NotSignedIn` without a good token.
    pub fn api_as_it_is(&self) -> Result<AuthenticatedApi> {
        let token = self
            .session()?
            .current()
            .ok_or_else(|| Error::new(ErrorKind::NotSignedIn, "the token has to be renewed first"))?;
        AuthenticatedApi::new(self.origin().clone(), Box::new(FixedToken(token)), self.http_options()?)
    }

    /// How to reach the installation.
    ///
    /// # Errors
    /// A usage error for plain http to another machine, where others could read the token.
    pub fn http_options(&self) -> Result<http::ClientOptions> {
        let origin = self.origin();
        if origin.is_plain_http() && !origin.is_loopback() && !self.settings.allow_http {
            let message = format!("{origin} is plain http: the token could be read on its way");
            return Err(Error::usage(message).hint("use https, or give --allow-http if the network is trusted"));
        }
        Ok(http::ClientOptions {
            attempt_timeout: self.settings.timeout.value,
            total_timeout: self.settings.total_timeout(),
            // A proxy on the way may be reached by https even where the installation is not.
            tls: !(origin.is_plain_http() && origin.is_loopback()),
            proxy: !origin.is_loopback(),
            roots: self.roots(),
            peer: http::Peer::Api,
        })
    }

    /// Which certificate authorities are trusted: those of a flag, else of the environment, else of the profile.
    pub fn roots(&self) -> Roots {
        let of_environment = self.environment.has("SSL_CERT_FILE") || self.environment.has("SSL_CERT_DIR");
        match &self.settings.ca_file {
            Sourced { value: Some(path), source: Source::Flag(_) } => Roots::File(path.clone()),
            _ if of_environment => Roots::Environment,
            Sourced { value: Some(path), .. } => Roots::File(path.clone()),
            _ => Roots::System,
        }
    }

    /// The store: registry and inbox.
    ///
    /// # Errors
    /// A store error when there is no home directory and no setting.
    pub fn store(&self) -> Result<Box<dyn Store>> {
        store_of(&self.settings)
    }

    /// The registry, made if need be.
    ///
    /// # Errors
    /// A store error.
    pub fn registry(&self) -> Result<Box<dyn Registry>> {
        Ok(self.store()?.registry()?)
    }

    /// The registry, if there is one: for commands that change nothing.
    ///
    /// # Errors
    /// A store error.
    pub fn existing_registry(&self) -> Result<Option<Box<dyn Registry>>> {
        Ok(self.store()?.existing_registry(None)?)
    }

    /// The inbox, if there is one: for all but what receives.
    ///
    /// # Errors
    /// A store error.
    pub fn existing_inbox(&self) -> Result<Option<Box<dyn Inbox>>> {
        Ok(self.store()?.existing_inbox()?)
    }

    /// Runs a future to its end, or until Ctrl-C or SIGTERM comes: then `None`, and the future is dropped where it stood.
    /// One that came since the last wait counts: then the future is not begun.
    ///
    /// # Errors
    /// When the system refuses the runtime.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> Result<Option<T>> {
        self.block_on(async { Ok(self.unless_interrupted(future).await) })
    }

    async fn unless_interrupted<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let Some(mut signals) = self.signals.take().or_else(|| StopSignals::listen().ok()) else {
            return Some(future.await);
        };
        // The runtime hears of signals when nothing else is to be done.
        tokio::task::yield_now().await;
        let value = if signals.next().now_or_never().is_some() {
            None
        } else {
            tokio::select! {
                // What is there is taken.
                biased;
                value = future => Some(value),
                _ = signals.next() => None,
            }
        };
        self.signals.set(Some(signals));
        value
    }

    /// What has come so far has been heeded by somebody else: it is not to interrupt the next wait.
    pub fn heeded_interruptions(&self) {
        self.signals.set(None);
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

/// A token that is used as it is.
#[derive(Debug)]
struct FixedToken(AccessToken);

impl TokenProvider for FixedToken {
    fn token(&self) -> LocalBoxFuture<'_, Result<AccessToken>> {
        Box::pin(async { Ok(self.0.clone()) })
    }

    fn instead_of<'a>(
        &'a self,
        _refused: &'a AccessToken,
        _status: http::StatusCode,
    ) -> LocalBoxFuture<'a, Result<Option<AccessToken>>> {
        Box::pin(async { Ok(None) })
    }
}

/// A name that is being looked up is not waited for any more.
impl Drop for Context {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl TokenProvider for Session {
    fn token(&self) -> LocalBoxFuture<'_, Result<AccessToken>> {
        Box::pin(self.token())
    }

    fn instead_of<'a>(
        &'a self,
        refused: &'a AccessToken,
        status: http::StatusCode,
    ) -> LocalBoxFuture<'a, Result<Option<AccessToken>>> {
        Box::pin(self.instead_of(refused, status))
    }
}

impl Frontend for Context {
    fn wait<T>(&self, future: impl Future<Output = T>) -> Result<Option<T>> {
        self.wait(future)
    }

    fn note(&self, text: &str) {
        self.output.note(text);
    }

    fn warn(&self, text: &str) {
        self.output.warn(text);
    }
}

/// The store that these settings name.
///
/// # Errors
/// A store error when there is no home directory and no setting.
pub fn store_of(settings: &Settings) -> Result<Box<dyn Store>> {
    Ok(Box::new(SqliteStore::at(settings.store_path()?.path())))
}

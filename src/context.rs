//! What a command works with: the resolved settings, and client, store and runtime, which are created on first use.

mod store_location;
mod tokens;

use std::cell::{Cell, OnceCell};
use std::fmt::Write;
use std::future::Future;
use std::io::{self, IsTerminal};

use futures_util::FutureExt;
use tokio::runtime::{Builder, Runtime};

pub use self::store_location::store_of;

use self::store_location::StoreLocation;
use self::tokens::FixedToken;
use crate::api::AuthenticatedApi;
use crate::auth::{self, KeyringTimeout, Session, StoredCredential, Vault};
use crate::config::{Environment, Settings, Source, Sourced, StoreUrl, environment};
use crate::domain::{ApiOrigin, DocTopic};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::Frontend;
use crate::http::{self, Roots};
use crate::platform::StopSignals;
use crate::render::Output;
use crate::store::{Inbox, Registry, Store};

/// Settings, output, client, store and runtime of one command.
pub struct Context {
    settings: Settings,
    environment: Environment,
    output: Output,
    runtime: OnceCell<Runtime>,
    interactive: bool,
    keyring_timeout: KeyringTimeout,
    config_error: Cell<Option<Error>>,
    store_location: OnceCell<StoreLocation>,
    /// The signal listener, installed by the first wait and taken out while a wait is in progress.
    signals: Cell<Option<StopSignals>>,
}

impl Context {
    /// A context for one run. `config_error` is why the configuration was left out of the settings, if it was.
    pub fn new(settings: Settings, environment: Environment, output: Output, config_error: Option<Error>) -> Self {
        let interactive = io::stdin().is_terminal() && io::stderr().is_terminal();
        let keyring_timeout = if interactive { KeyringTimeout::Interactive } else { KeyringTimeout::NonInteractive };
        Self {
            settings,
            environment,
            output,
            runtime: OnceCell::new(),
            interactive,
            keyring_timeout,
            config_error: Cell::new(config_error),
            store_location: OnceCell::new(),
            signals: Cell::default(),
        }
    }

    /// A context for shell completion, which never prompts and never accesses the keyring.
    pub fn for_completion(settings: Settings, environment: Environment, output: Output) -> Self {
        let mut context = Self::new(settings, environment, output, None);
        (context.interactive, context.keyring_timeout) = (false, KeyringTimeout::None);
        context
    }

    /// The error in the configuration, for a command that reports it.
    pub fn take_config_error(&self) -> Option<Error> {
        self.config_error.take()
    }

    /// The settings with their sources.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The environment variables.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The output.
    pub fn out(&self) -> &Output {
        &self.output
    }

    /// Whether the command runs on a terminal and can prompt.
    pub fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// The installation to talk to.
    pub fn origin(&self) -> &ApiOrigin {
        &self.settings.api.value
    }

    /// The vault of stored credentials.
    ///
    /// # Errors
    /// A store error when there is no home directory.
    pub fn vault(&self) -> Result<Vault> {
        Vault::open(self.keyring_timeout)
    }

    /// The credential for the installation, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn credential(&self) -> Result<Option<StoredCredential>> {
        auth::find(&self.environment, &self.settings.profile.value, self.origin(), || self.vault())
    }

    /// The credential, which must exist.
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
                self.profile_flags()
            ))
        })
    }

    /// The flags that make another command use the same profile and installation.
    pub fn profile_flags(&self) -> String {
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

    /// The session for the installation, which renews its token automatically.
    ///
    /// # Errors
    /// `NotSignedIn` when there is none; a usage error for plain http to another machine.
    pub fn session(&self) -> Result<Session> {
        let options = self.http_options()?;
        let StoredCredential { credential, place, origin, .. } = self.require_credential()?;
        Ok(Session::new(credential, place, origin, self.origin().clone(), options))
    }

    /// The authenticated client of the API, and the only way to get one.
    ///
    /// # Errors
    /// `NotSignedIn` without a token; a usage error for plain http to another machine.
    pub fn api(&self) -> Result<AuthenticatedApi> {
        let session = self.session()?;
        let must_renew = session.current().is_none();
        let api = AuthenticatedApi::new(self.origin().clone(), Box::new(session), self.http_options()?)?;
        if must_renew {
            // Before anything that depends on the token is recorded or sent.
            let signed_in = self.wait(api.sign_in())?;
            signed_in.ok_or_else(|| Error::interrupted("while renewing the token"))??;
        }
        Ok(api)
    }

    /// The client of the API, whose token is renewed when something is asked: now nothing is sent.
    ///
    /// # Errors
    /// `NotSignedIn` without a credential; a usage error for plain http to another machine.
    pub fn api_for_later(&self) -> Result<AuthenticatedApi> {
        AuthenticatedApi::new(self.origin().clone(), Box::new(self.session()?), self.http_options()?)
    }

    /// The client of the API with the current token, which is never renewed, even if the server rejects it.
    ///
    /// # Errors
    /// `NotSignedIn` without a valid token.
    pub fn api_without_renewal(&self) -> Result<AuthenticatedApi> {
        let token = self
            .session()?
            .current()
            .ok_or_else(|| Error::new(ErrorKind::NotSignedIn, "the token must be renewed first"))?;
        AuthenticatedApi::new(self.origin().clone(), Box::new(FixedToken(token)), self.http_options()?)
    }

    /// The HTTP options for the installation.
    ///
    /// # Errors
    /// A usage error for plain http to another machine, which would expose the token.
    pub fn http_options(&self) -> Result<http::ClientOptions> {
        let origin = self.origin();
        let exposed = origin.is_plain_http() && !self.settings.allow_http;
        if exposed && !origin.is_loopback() {
            let message = format!("{origin} uses plain http, which would expose the token to the network");
            return Err(Error::usage(message).hint("use https, or pass --allow-http if you trust the network"));
        }
        Ok(http::ClientOptions {
            attempt_timeout: self.settings.timeout.value,
            total_timeout: self.settings.total_timeout(),
            // Even for an http installation, the proxy may use https.
            tls: !(origin.is_plain_http() && origin.is_loopback()),
            proxy: !origin.is_loopback(),
            // Its name says so; whether it resolves so is seen when connecting.
            loopback_only: exposed,
            roots: self.roots(),
            peer: http::Peer::Api,
        })
    }

    /// The trusted certificate authorities: from the flag, else the environment, else the profile.
    pub fn roots(&self) -> Roots {
        roots_of(&self.settings, &self.environment)
    }

    /// The store: registry and inbox.
    ///
    /// # Errors
    /// A store error when there is no home directory and no setting.
    pub fn store(&self) -> Result<Box<dyn Store>> {
        if let Some(location) = self.store_location.get() {
            return Ok(location.open());
        }
        // Once, as it may warn.
        let location = StoreLocation::of(&self.settings, &self.environment)?;
        Ok(self.store_location.get_or_init(|| location).open())
    }

    /// The store at another location.
    ///
    /// # Errors
    /// A usage error for a store that cannot be used.
    pub fn store_at(&self, url: &StoreUrl) -> Result<Box<dyn Store>> {
        Ok(StoreLocation::at(url.clone(), &self.settings, &self.environment)?.open())
    }

    /// The registry. One that does not exist is made, which is said, as whoever lost theirs must know.
    ///
    /// # Errors
    /// A store error; with `--require-store` also when there is none.
    pub fn registry(&self) -> Result<Box<dyn Registry>> {
        let store = self.store()?;
        if let Some(registry) = store.existing_registry(None)? {
            return Ok(registry);
        }
        self.allow_new("registry", &store.registry_place())?;
        let registry = store.registry()?;
        self.say_new("registry", &store.registry_place());
        Ok(registry)
    }

    /// Whether this part of the store may be made, now that it does not exist.
    ///
    /// # Errors
    /// A store error with `--require-store`.
    pub fn allow_new(&self, part: &str, place: &str) -> Result<()> {
        if !self.settings.require_store {
            return Ok(());
        }
        let message = format!("the {part} {place} does not exist, and --require-store forbids making a new one");
        let advice = format!(
            "bring it back from where it is kept; to begin with an empty one, run the command once without \
             --require-store and with {} set to 0",
            environment::REQUIRE_STORE
        );
        Err(Error::new(ErrorKind::Store, message).hint(advice).hint(DocTopic::LostRegistry.hint()))
    }

    /// Says that this part of the store was made.
    pub fn say_new(&self, part: &str, place: &str) {
        self.output.note(&format!("made a new {part} at {place}"));
    }

    /// The registry, if it exists, for commands that change nothing.
    ///
    /// # Errors
    /// A store error.
    pub fn existing_registry(&self) -> Result<Option<Box<dyn Registry>>> {
        Ok(self.store()?.existing_registry(None)?)
    }

    /// The inbox, if it exists, for all commands but the receiver.
    ///
    /// # Errors
    /// A store error.
    pub fn existing_inbox(&self) -> Result<Option<Box<dyn Inbox>>> {
        Ok(self.store()?.existing_inbox()?)
    }

    /// Runs a future to completion, or drops it and returns `None` on Ctrl-C or SIGTERM. A signal that arrived since
    /// the last wait counts too; the future is then not started.
    ///
    /// # Errors
    /// When the runtime cannot be created.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> Result<Option<T>> {
        self.block_on(async { Ok(self.unless_interrupted(future).await) })
    }

    async fn unless_interrupted<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let Some(mut signals) = self.signals.take().or_else(|| StopSignals::listen().ok()) else {
            return Some(future.await);
        };
        // Lets the runtime's driver run, which delivers pending signals.
        tokio::task::yield_now().await;
        let value = if signals.next().now_or_never().is_some() {
            None
        } else {
            tokio::select! {
                // A result that is ready wins over a simultaneous signal.
                biased;
                value = future => Some(value),
                _ = signals.next() => None,
            }
        };
        self.signals.set(Some(signals));
        value
    }

    /// Discards the signals received so far, which the caller has handled, so that they do not interrupt the next wait.
    pub fn discard_interruptions(&self) {
        self.signals.set(None);
    }

    /// Runs a future to completion on a single-threaded runtime, which is created on first use.
    ///
    /// # Errors
    /// When the runtime cannot be created, or the future fails.
    pub fn block_on<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        if self.runtime.get().is_none() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            // It is empty, as checked above, and `Context` is not shared between threads.
            let _ = self.runtime.set(runtime);
        }
        let runtime = self.runtime.get().ok_or_else(|| Error::new(ErrorKind::Other, "there is no runtime"))?;
        runtime.block_on(future)
    }
}

/// Shuts the runtime down without waiting for a DNS lookup in progress.
impl Drop for Context {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
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

fn roots_of(settings: &Settings, environment: &Environment) -> Roots {
    let of_environment = environment.has("SSL_CERT_FILE") || environment.has("SSL_CERT_DIR");
    match &settings.ca_file {
        Sourced { value: Some(path), source: Source::Flag(_) } => Roots::File(path.clone()),
        _ if of_environment => Roots::Environment,
        Sourced { value: Some(path), .. } => Roots::File(path.clone()),
        _ => Roots::System,
    }
}

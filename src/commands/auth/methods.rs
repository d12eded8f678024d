//! The sign-in methods, each of which gives a credential.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueHint;
use secrecy::SecretString;
use serde::Deserialize;

use crate::auth::{
    self, Callback, Credential, Grant, GrantedToken, Loopback, Page, Proof, Refusal, Token, TokenEndpoint,
    service_proof,
};
use crate::commands::confirm::ask;
use crate::commands::hook_args::seconds;
use crate::commands::input::{self, read_stdin};
use crate::config::environment;
use crate::context::Context;
use crate::domain::{AccessToken, ClientId, Secret, excerpt};
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Method as HttpMethod, Repeat, Request, RequestBody};
use crate::platform::{self, TerminalModes};

/// The flags that say how to sign in.
#[derive(clap::Args)]
pub(super) struct SignInArgs {
    /// Sign in as this client: a service account, or with --web an integration
    #[arg(long, value_name = "ID")]
    pub client_id: Option<ClientId>,

    /// Read the client secret from this file, or from standard input ("-"); asked for on a terminal when not given
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub client_secret_file: Option<PathBuf>,

    /// Sign in as a service account with the RSA private key in this PEM file, which stays where it is
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
          conflicts_with_all = ["client_secret_file", "web", "with_token"])]
    pub private_key: Option<PathBuf>,

    /// Sign in in a browser; the client id comes with API access, which Bugfender's support gives and not every plan has
    #[arg(long, conflicts_with = "with_token")]
    pub web: bool,

    /// With --web, print the address for a browser instead of opening one
    #[arg(long, requires = "web")]
    pub no_browser: bool,

    /// With --web, stop waiting for the browser after this long
    #[arg(long, value_name = "SECONDS", requires = "web", default_value = "300", value_parser = seconds)]
    pub login_timeout: Duration,

    /// Read an access token from standard input, or on a second line a refresh token too, or the JSON with both; it is
    /// stored without being checked
    #[arg(long)]
    pub with_token: bool,
}

/// A sign-in method.
pub(super) enum Method {
    /// With a token that the user has; the client is that of the environment, if it names one.
    Token(Option<ClientId>),
    /// As a service account.
    Service(ClientId, Option<PathBuf>),
    /// In a browser.
    Web(ClientId),
}

/// What people without a client id must do first.
const WHERE_CLIENT_IDS_COME_FROM: &str = "a client id comes with API access, which has to be asked for at Bugfender's \
                                          support and is not in every plan";

/// The sign-in method that the command line and the environment select.
pub(super) fn choose(ctx: &Context, args: &SignInArgs) -> Result<Method> {
    let of_environment = ctx.environment().text(environment::CLIENT_ID)?.map(str::parse).transpose();
    let of_environment = of_environment.map_err(|error: Error| error.about(environment::CLIENT_ID))?;
    if args.with_token {
        return Ok(Method::Token(of_environment));
    }
    let client_id = args.client_id.clone().or(of_environment);
    let needs_id = |flag: &str| Error::usage(format!("{flag} needs --client-id ID, or {}", environment::CLIENT_ID));
    if args.web {
        return client_id.map(Method::Web).ok_or_else(|| needs_id("--web").hint(WHERE_CLIENT_IDS_COME_FROM));
    }
    let key = match (&args.private_key, &args.client_secret_file) {
        (Some(path), _) => Some(path.clone()),
        (None, Some(_)) => None,
        (None, None) => match proof_of_environment(ctx, args)? {
            Some(Proof::Key(path)) => Some(path),
            _ => None,
        },
    };
    match (client_id, args.private_key.is_some(), args.client_secret_file.is_some()) {
        (Some(id), ..) => Ok(Method::Service(id, key)),
        (None, true, _) => Err(needs_id("--private-key")),
        (None, _, true) => Err(needs_id("--client-secret-file")),
        (None, ..) => Err(no_way_in()),
    }
}

/// The error of a login without a method.
fn no_way_in() -> Error {
    Error::usage(
        "choose how to sign in: --client-id ID (a service account), --web --client-id ID (in a browser) or --with-token",
    )
    .hint("`bugfender-hooks auth login --help` has examples")
    .hint(WHERE_CLIENT_IDS_COME_FROM)
}

/// What the environment says the client proves itself with; nothing when it says so of another client.
fn proof_of_environment(ctx: &Context, args: &SignInArgs) -> Result<Option<Proof>> {
    let of_whom = ctx.environment().text(environment::CLIENT_ID)?.map(str::trim);
    let given = args.client_id.as_ref().map(ClientId::as_str);
    if given.is_some() && of_whom.is_some() && given != of_whom {
        return Ok(None);
    }
    service_proof(ctx.environment())
}

/// What signing in so would send, for `--dry-run`.
pub(super) fn requests(ctx: &Context, args: &SignInArgs, method: &Method) -> Result<Vec<Request>> {
    let hidden = "hidden";
    let fields = match method {
        // Read, so that what is wrong with it shows.
        Method::Token(client_id) => {
            pasted(ctx, args, client_id.clone())?;
            return Ok(Vec::new());
        }
        Method::Web(_) => return Ok(Vec::new()),
        Method::Service(id, Some(key)) => {
            auth::read_key(key)?;
            let kind = ("client_assertion_type", auth::ASSERTION_TYPE);
            vec![("grant_type", "client_credentials"), ("client_id", id.as_str()), kind, ("client_assertion", hidden)]
        }
        Method::Service(id, None) => {
            vec![("grant_type", "client_credentials"), ("client_id", id.as_str()), ("client_secret", hidden)]
        }
    };
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let body = Some(RequestBody::Form(SecretString::from(form)));
    let url = auth::token_url(ctx.origin());
    Ok(vec![Request { method: HttpMethod::POST, url, body, repeat: Repeat::Never }])
}

/// Signs in. Credentials are checked at once, except for a pasted token, which only the API can check.
pub(super) fn sign_in(ctx: &Context, args: &SignInArgs, method: Method) -> Result<SignedIn> {
    let credential = match method {
        Method::Token(client_id) => pasted(ctx, args, client_id)?,
        Method::Service(client_id, key) => service(ctx, args, client_id, key)?,
        Method::Web(client_id) => return web(ctx, args, client_id),
    };
    Ok(SignedIn { credential, page: None })
}

/// What signing in gave.
pub(super) struct SignedIn {
    /// What is to be kept.
    pub(super) credential: Credential,
    /// The page that a browser waits for until it is.
    pub(super) page: Option<Page>,
}

/// The JSON of a token endpoint, as far as it is of use.
#[derive(Deserialize)]
struct Pasted {
    access_token: Option<String>,
    refresh_token: Option<String>,
    client_id: Option<String>,
}

fn pasted(ctx: &Context, args: &SignInArgs, of_environment: Option<ClientId>) -> Result<Credential> {
    let text = read_secret(ctx, "the token", &format!("Paste an access token for {}", ctx.origin()))?;
    let pasted = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|_| {
            Error::usage("the JSON on standard input is not a token endpoint's response")
                .hint("it needs access_token, refresh_token or both")
        })?
    } else {
        let mut lines = text.trim().lines().map(str::trim).filter(|line| !line.is_empty());
        let (access_token, refresh_token) = (lines.next(), lines.next());
        if lines.next().is_some() {
            return Err(Error::usage("standard input has more than two lines")
                .hint("give the access token on the first line, and the refresh token on the second if there is one"));
        }
        Pasted {
            access_token: Some(access_token.unwrap_or_default().to_owned()),
            refresh_token: refresh_token.map(str::to_owned),
            client_id: None,
        }
    };
    let refresh_token = pasted.refresh_token.map(|text| Secret::parse("the refresh token", &text)).transpose()?;
    let token = pasted.access_token.map(|text| AccessToken::parse(&text)).transpose()?.map(Token::pasted);
    // A client id given with the token takes precedence over the environment.
    let came_along = pasted.client_id.map(|id| id.parse()).transpose()?;
    let client_id = args.client_id.clone().or(came_along).or(of_environment);
    let grant = match refresh_token {
        Some(refresh_token) => {
            let client_secret = args.client_secret_file.as_deref().map(|path| secret_of_file(ctx, path)).transpose()?;
            Grant::Refresh { client_id, client_secret, refresh_token, browser: false }
        }
        None if token.is_none() => {
            return Err(Error::usage("there is neither an access token nor a refresh token on standard input"));
        }
        None => Grant::None,
    };
    Ok(Credential { grant, token })
}

fn service(ctx: &Context, args: &SignInArgs, client_id: ClientId, key: Option<PathBuf>) -> Result<Credential> {
    let proof = match key {
        Some(path) => {
            auth::read_key(&path)?;
            // The command that needs it next may run elsewhere.
            let wrong = |error: io::Error| Error::usage(format!("{}: {error}", path.display())).source(error);
            Proof::Key(std::fs::canonicalize(&path).map_err(wrong)?)
        }
        None => Proof::Secret(client_secret(ctx, args, &client_id)?),
    };
    let endpoint = TokenEndpoint::new(ctx.origin().clone(), ctx.http_options()?)?;
    let granted = wait(ctx, "while signing in", endpoint.client_credentials(&client_id, &proof))?;
    Ok(Credential { grant: Grant::Service { client_id, proof }, token: Some(granted.token) })
}

fn client_secret(ctx: &Context, args: &SignInArgs, client_id: &ClientId) -> Result<Secret> {
    if let Some(path) = &args.client_secret_file {
        return secret_of_file(ctx, path);
    }
    if let Some(Proof::Secret(secret)) = proof_of_environment(ctx, args)? {
        return Ok(secret);
    }
    if !io::stdin().is_terminal() {
        return Err(Error::usage("there is no client secret, and no terminal to ask for it on")
            .hint("give --client-secret-file FILE, or - to read it from standard input; or --private-key FILE"));
    }
    let text = read_secret(ctx, "the client secret", &format!("Paste the client secret of {client_id}"))?;
    Secret::parse("the client secret", &text)
}

fn secret_of_file(ctx: &Context, path: &Path) -> Result<Secret> {
    if path != Path::new("-") {
        return input::read_secret("the client secret", path);
    }
    let text = read_secret(ctx, "the client secret", "Paste the client secret")?;
    Secret::parse("the client secret", &text)
}

/// Reads a secret from standard input, or from a terminal without showing it.
fn read_secret(ctx: &Context, what: &str, question: &str) -> Result<String> {
    if !io::stdin().is_terminal() {
        return read_stdin(what);
    }
    let modes = TerminalModes::save();
    let show = || {
        ctx.out().note(&format!("{question} (it is not shown):"));
        Ok(())
    };
    let typed = ask(ctx, show, rpassword::read_password).inspect_err(|_| modes.restore())?;
    let failed = |error: io::Error| match error.kind() {
        // On a terminal that is asked for a secret, Ctrl-C is a character.
        io::ErrorKind::Interrupted => Error::interrupted("while asking; nothing was changed"),
        _ => Error::usage(format!("{what} could not be read from the terminal: {error}")).source(error),
    };
    typed.map_err(failed)
}

fn web(ctx: &Context, args: &SignInArgs, client_id: ClientId) -> Result<SignedIn> {
    if !args.no_browser && !ctx.is_interactive() && !may_have_a_browser(ctx) {
        let message = "there is neither a browser nor a terminal here to sign in with";
        return Err(Error::usage(message)
            .hint("give --no-browser to have the address printed, for a browser on this machine")
            .hint("in CI, use a service account: set BUGFENDER_CLIENT_ID and BUGFENDER_CLIENT_SECRET"));
    }
    let client_secret = match (&args.client_secret_file, proof_of_environment(ctx, args)?) {
        (Some(path), _) => Some(secret_of_file(ctx, path)?),
        (None, Some(Proof::Secret(secret))) => Some(secret),
        (None, _) => None,
    };
    let endpoint = TokenEndpoint::new(ctx.origin().clone(), ctx.http_options()?)?;
    let answer = ctx.wait(async {
        let loopback = Loopback::open().await?;
        let authorization = endpoint.authorize(&client_id, loopback.redirect())?;
        send_to_browser(ctx, args, authorization.url.as_str())?;
        let answer = tokio::time::timeout(args.login_timeout, loopback.callback()).await;
        let (callback, page) = answer.unwrap_or_else(|_| Err(nobody_came(args.login_timeout)))?;
        Ok::<_, Error>((callback, page, authorization))
    })?;
    let stopped = || Error::interrupted("while waiting for the browser; nothing was changed");
    let (callback, page, authorization) = answer.ok_or_else(stopped)??;
    let code = code_of(callback, |state| authorization.is_state(state));
    let granted = code.and_then(|code| {
        let asked = endpoint.exchange(authorization, &client_id, client_secret.as_ref(), code);
        wait(ctx, "while exchanging the code; nothing was changed", asked)
    });
    let GrantedToken { token, refresh_token } = match granted {
        Ok(granted) => granted,
        Err(error) => {
            show(ctx, page, false);
            return Err(error);
        }
    };
    let grant = if let Some(refresh_token) = refresh_token {
        Grant::Refresh { client_id: Some(client_id), client_secret, refresh_token, browser: true }
    } else {
        ctx.out().warn("the server issued no refresh token: this sign-in ends when its access token expires");
        Grant::None
    };
    Ok(SignedIn { credential: Credential { grant, token: Some(token) }, page: Some(page) })
}

/// Shows the browser how it ended.
pub(super) fn show(ctx: &Context, page: Page, signed_in: bool) {
    // The page is a courtesy: the terminal has said the same.
    let _ = ctx.block_on(async {
        page.show(signed_in).await;
        Ok(())
    });
}

/// Whether there may be a browser: on Linux only within a graphical session, or where one is named.
fn may_have_a_browser(ctx: &Context) -> bool {
    let session = ["BROWSER", "DISPLAY", "WAYLAND_DISPLAY"];
    !platform::NAMES_GRAPHICAL_SESSIONS || session.iter().any(|name| ctx.environment().has(name))
}

/// Opens a browser, or prints the address: without a terminal no browser is opened.
fn send_to_browser(ctx: &Context, args: &SignInArgs, url: &str) -> Result<()> {
    let seconds = args.login_timeout.as_secs_f64();
    if args.no_browser || !ctx.is_interactive() {
        ctx.out().note(&format!("Open this address in a browser on this machine; waiting for {seconds} s:"));
        return ctx.out().raw(&format!("{url}\n"));
    }
    match open::that_detached(url) {
        Ok(()) => ctx.out().note(&format!("Opening a browser; if none opens, go to {url}")),
        Err(error) => ctx.out().note(&format!("No browser could be opened ({error}); go to {url}")),
    }
    ctx.out().note(&format!("Waiting for {seconds} s; Ctrl-C cancels"));
    Ok(())
}

/// The code in the browser's response, if it belongs to this sign-in.
fn code_of(callback: Callback, is_state: impl FnOnce(&str) -> bool) -> Result<String> {
    // Checked first: a response with another state may come from an attacker, and is not trusted.
    if !callback.state.as_deref().is_some_and(is_state) {
        return Err(Error::new(
            ErrorKind::Refused,
            "the browser's response does not belong to this sign-in: its state does not match",
        )
        .hint("nothing was changed; start again, and use the address that is shown"));
    }
    if let Some(error) = callback.error {
        let mut text = error.clone();
        if let Some(description) = callback.error_description {
            text = format!("{text}: {description}");
        }
        let kind = if error == "access_denied" { ErrorKind::Refused } else { ErrorKind::Other };
        return Err(Error::new(kind, format!("the sign-in was denied: “{}”", excerpt(&text, 200))));
    }
    callback.code.ok_or_else(|| Error::new(ErrorKind::Other, "the browser's response has no code"))
}

fn nobody_came(timeout: Duration) -> Error {
    let seconds = timeout.as_secs_f64();
    Error::new(ErrorKind::Unavailable, format!("no response from the browser within {seconds} s; nothing was changed"))
        .hint("start again; --login-timeout SECONDS allows more time")
}

/// Waits for the token endpoint, unless Ctrl-C comes first.
fn wait(ctx: &Context, when: &str, asked: impl Future<Output = Result<GrantedToken, Refusal>>) -> Result<GrantedToken> {
    ctx.wait(asked)?.ok_or_else(|| Error::interrupted(when))?.map_err(Refusal::into_error)
}

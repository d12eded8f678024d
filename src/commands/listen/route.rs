//! Where events are forwarded to, from the command line and the file that it names, and what logs and metrics call it.

use std::time::Duration;

use ring::digest::{SHA256, digest};
use url::Url;

use super::super::calls::Endpoint;
use super::super::input::{not_made, read_secret};
use super::args::ForwardArgs;
use super::target_file::{self, Destination, TargetSpec};
use crate::config::environment;
use crate::context::Context;
use crate::domain::event::EVENT_TYPES;
use crate::domain::signature::{check_standard_secret, new_standard_secret};
use crate::domain::{HostScope, Secret, ShownTarget, TargetUrl};
use crate::error::{Error, Result};
use crate::http::HeaderMap;
use crate::platform;
use crate::receiver::{ExecTarget, HttpTarget, Policy, Target, TargetKind, Template};
use crate::store::TargetName;

/// How events are forwarded.
pub(super) fn policy(args: &ForwardArgs) -> Policy {
    Policy {
        max_in_flight: args.max_in_flight.into(),
        max_age: args.max_age,
        first_wait: args.retry_wait,
        ..Policy::default()
    }
}

/// What becomes of a file with a secret to sign with that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MissingSecret {
    /// It is created, with a new secret.
    Make,
    /// Nothing is created, as the targets are only checked.
    Pretend,
    /// It is an error: targets that are read again have their secrets.
    Refuse,
}

/// All targets.
pub(super) fn targets(ctx: &Context, args: &ForwardArgs, missing: MissingSecret) -> Result<Vec<Target>> {
    let mut targets = targets_of_flags(ctx, args, missing)?;
    if let Some(path) = &args.config {
        for spec in target_file::read(path)? {
            let name = spec.name.clone();
            let target = target_of_file(ctx, args, spec, missing);
            targets.push(target.map_err(|error| error.about(format!("{}: target {name}", path.display())))?);
        }
    }
    Ok(targets)
}

fn targets_of_flags(ctx: &Context, args: &ForwardArgs, missing: MissingSecret) -> Result<Vec<Target>> {
    let endpoints = args.forward_to.len() + args.routes.len();
    for (flag, given) in [("--template", args.template.is_some()), ("--sign-with", args.sign_with.is_some())] {
        if given && endpoints == 0 {
            return Err(Error::usage(format!("{flag} needs an endpoint, and none is given"))
                .hint("add --forward-to URL or --route EVENT=URL"));
        }
    }
    let secret = args.sign_with.as_deref().map(|path| signing_secret(ctx, path, missing)).transpose()?;
    let mut targets: Vec<Target> = Vec::new();
    let template = args.template.as_deref().map(Template::load).transpose()?;
    let plain = args.forward_to.iter().map(|url| Ok(("--forward-to", Vec::new(), url.clone())));
    let routed = args.routes.iter().map(|route| route.read(ctx).map(|(types, url)| ("--route", types, url)));
    for wanted in plain.chain(routed) {
        let (flag, types, url) = wanted?;
        let url = url.resolve(ctx).map_err(|error| error.about(flag))?;
        let key = key_of(&["url", url.expose()]);
        let name = TargetName { shown: shown(&url, &key), key };
        // The same endpoint for several types is one target; for all of them, if it is named without one too.
        if let Some(known) = targets.iter_mut().find(|target| target.name == name) {
            if types.is_empty() || known.types.is_empty() {
                known.types.clear();
            } else {
                known.types.extend(types);
            }
            continue;
        }
        let endpoint = target_endpoint(ctx, &url)?;
        let client = endpoint.client(ctx)?;
        let http = HttpTarget::new(client, endpoint.url, template.clone(), secret.clone(), HeaderMap::new())?;
        targets.push(Target {
            name,
            types,
            filter: None,
            policy: policy(args),
            kind: TargetKind::Http(Box::new(http)),
        });
    }
    for command in &args.exec {
        targets.push(exec_target(command, args)?);
    }
    make_unique(&mut targets);
    Ok(targets)
}

/// A target as the file has it; what the file does not say is as the flags say.
fn target_of_file(ctx: &Context, args: &ForwardArgs, spec: TargetSpec, missing: MissingSecret) -> Result<Target> {
    let own = policy(args);
    let policy = Policy {
        max_in_flight: spec.max_in_flight.unwrap_or(own.max_in_flight),
        max_age: spec.max_age.unwrap_or(own.max_age),
        rate: spec.rate,
        ..own
    };
    for unknown in spec.types.iter().filter(|kind| !EVENT_TYPES.contains(&kind.as_str())) {
        let known = EVENT_TYPES.join(", ");
        ctx.out().warn(&format!("{}: {unknown} is not a known event type; known types: {known}", spec.name));
    }
    let kind = match spec.destination {
        Destination::Exec(words) => TargetKind::Exec(exec("exec", words, spec.timeout.unwrap_or(args.exec_timeout))?),
        Destination::Url(url) => {
            let template = spec.template.as_deref().map(Template::load).transpose()?;
            let secret = spec.sign_with.as_deref().map(|path| signing_secret(ctx, path, missing)).transpose()?;
            let endpoint = target_endpoint(ctx, &url)?;
            let client = match spec.timeout {
                Some(timeout) => endpoint.client_with(ctx, timeout, None)?,
                None => endpoint.client(ctx)?,
            };
            TargetKind::Http(Box::new(HttpTarget::new(client, endpoint.url, template, secret, spec.headers)?))
        }
    };
    let name = TargetName { key: key_of(&["name", &spec.name]), shown: spec.name };
    Ok(Target { name, types: spec.types, filter: spec.filter, policy, kind })
}

/// The endpoint at a URL, with a warning if events can be read on their way to it.
fn target_endpoint(ctx: &Context, url: &TargetUrl) -> Result<Endpoint> {
    let endpoint = Endpoint::at(url)?;
    if endpoint.url.scheme() == "http" && url.scope() == HostScope::Public {
        let shown = ShownTarget::of(&endpoint.url);
        ctx.out().warn(&format!("{shown} is plain http: events can be read in transit"));
    }
    Ok(endpoint)
}

fn exec_target(command: &str, args: &ForwardArgs) -> Result<Target> {
    let words = if args.shell {
        vec!["/bin/sh".to_owned(), "-c".to_owned(), command.to_owned()]
    } else {
        shlex::split(command).filter(|words| !words.is_empty()).ok_or_else(|| {
            Error::usage("--exec: the command is empty, or a quote is missing").hint(
                "the command is split into words as a shell does, but runs without one; --shell runs it with /bin/sh",
            )
        })?
    };
    let key: Vec<&str> = std::iter::once("exec").chain(words.iter().map(String::as_str)).collect();
    // Arguments may be secrets: only the program is shown.
    let shown = if args.shell { "exec: a command of /bin/sh".to_owned() } else { format!("exec: {}", words[0]) };
    let name = TargetName { key: key_of(&key), shown };
    let exec = exec("--exec", words, args.exec_timeout).map_err(|error| error.hint("--shell runs a shell command"))?;
    Ok(Target { name, types: Vec::new(), filter: None, policy: policy(args), kind: TargetKind::Exec(exec) })
}

/// A command of at least one word.
fn exec(what: &str, words: Vec<String>, timeout: Duration) -> Result<ExecTarget> {
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_default();
    // Without a PATH the system has one of its own.
    if let Err(which::Error::CannotFindBinaryPath) = which::which(&program) {
        let message = format!("{what}: {program} can't be run: there is no such program");
        return Err(Error::usage(message).hint("give the full path of the program"));
    }
    let hidden = [&environment::secrets()[..], &platform::SERVICE_VARIABLES].concat();
    Ok(ExecTarget { program: program.into(), arguments: words.map(Into::into).collect(), hidden, timeout })
}

/// Adds a mark to names that several targets have, such as commands of one program.
fn make_unique(targets: &mut [Target]) {
    let names: Vec<String> = targets.iter().map(|target| target.name.shown.clone()).collect();
    for target in targets {
        if names.iter().filter(|name| **name == target.name.shown).count() > 1 {
            target.name.shown = format!("{} #{}", target.name.shown, &target.name.key[..8]);
        }
    }
}

/// What logs and metrics call an endpoint: where it is, and a mark that tells it from others there. Its path is often a
/// secret, as that of chat services is.
fn shown(url: &TargetUrl, key: &str) -> String {
    let parsed = Url::parse(url.expose()).ok();
    let origin = parsed.as_ref().map(|url| ShownTarget::of(url).to_string()).unwrap_or_default();
    let bare = parsed.is_some_and(|url| url.path() == "/" && url.query().is_none());
    if bare { origin } else { format!("{origin}/#{}", &key[..8]) }
}

/// The key that identifies a target across runs.
fn key_of(parts: &[&str]) -> String {
    hex::encode(digest(&SHA256, parts.join("\0").as_bytes()))
}

/// Reads the secret in a file, which may be created if it is missing.
fn signing_secret(ctx: &Context, path: &std::path::Path, missing: MissingSecret) -> Result<Secret> {
    if missing != MissingSecret::Refuse && !path.try_exists().unwrap_or(true) {
        let secret = new_standard_secret()?;
        if missing == MissingSecret::Pretend {
            let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
            if directory.is_some_and(|directory| !directory.is_dir()) {
                return Err(not_made("--sign-with", path, std::io::ErrorKind::NotFound.into()));
            }
            return Ok(secret);
        }
        let made = platform::add_private_file(path, format!("{}\n", secret.expose()).as_bytes());
        made.map_err(|error| not_made("--sign-with", path, error))?;
        ctx.out().note(&format!("created a signing secret in {}", path.display()));
        return Ok(secret);
    }
    let secret = read_secret("the signing secret", path)?;
    check_standard_secret(&secret)?;
    // Only after reading: a file without a secret was named by mistake, and keeps its permissions.
    if missing == MissingSecret::Pretend {
        return Ok(secret);
    }
    if platform::tighten(path, platform::OTHERS).unwrap_or(false) {
        ctx.out()
            .warn(&format!("{} was accessible to other users; its permissions are now restricted", path.display()));
    }
    Ok(secret)
}

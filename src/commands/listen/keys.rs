//! Who may deliver: the keys of Bugfender's path, and the secrets of Luciq's signatures.

use jiff::Timestamp;

use super::args::Args;
use crate::commands::input::read_secret;
use crate::config::environment;
use crate::context::Context;
use crate::domain::delivery::DeliveryKeys;
use crate::domain::signature::may_be_instabug_secret;
use crate::domain::{Secret, whole_second};
use crate::error::{Error, Result};
use crate::store::{KeyFile, Keys, ReceiverKeys};

/// Where the keys are kept: in the store, unless a file is named.
pub(super) fn source(ctx: &Context, args: &Args) -> Result<Box<dyn ReceiverKeys>> {
    match &args.key_file {
        Some(path) => Ok(Box::new(KeyFile::at(path.clone()))),
        None => Ok(ctx.store()?.receiver_keys()),
    }
}

/// A verifier for these keys and for Luciq's secrets.
pub(super) fn delivery_keys(keys: &Keys, luciq: &[Secret]) -> Result<DeliveryKeys> {
    Ok(DeliveryKeys::new(&keys.current, luciq.to_vec())?.with_former_keys(&keys.former))
}

/// Reads Luciq's secrets, and warns of one that looks incomplete.
pub(super) fn luciq_secrets(ctx: &Context, args: &Args) -> Result<Vec<Secret>> {
    let secrets = read_luciq_secrets(ctx, args)?;
    if !secrets.iter().all(may_be_instabug_secret) {
        ctx.out().warn(
            "one of the secrets does not look like Luciq's, which have 16 to 64 letters and digits: what is signed \
             with another secret is rejected",
        );
    }
    Ok(secrets)
}

fn read_luciq_secrets(ctx: &Context, args: &Args) -> Result<Vec<Secret>> {
    let what = "Luciq's secret";
    if !args.luciq_secret_file.is_empty() {
        return args.luciq_secret_file.iter().map(|path| read_secret(what, path)).collect();
    }
    let mut secrets = Vec::new();
    for name in [environment::LUCIQ_SECRET, environment::INSTABUG_SECRET] {
        let text = ctx.environment().text(name)?.unwrap_or_default();
        for secret in text.split(',').filter(|secret| !secret.trim().is_empty()) {
            secrets.push(Secret::parse(name, secret)?);
        }
    }
    Ok(secrets)
}

/// Makes a new key, and says what to do about the old one.
pub(super) fn rotate(ctx: &Context, args: &Args) -> Result<Keys> {
    let now = Timestamp::now();
    let until = now.checked_add(args.keep_old_key).map_err(|_| {
        Error::usage("--keep-old-key: out of range").hint("write a duration such as 1d, or 0 to stop accepting it")
    })?;
    // Whole seconds are enough for a person to read.
    let until = whole_second(until);
    let source = source(ctx, args)?;
    let keys = source.rotate(until, now)?;
    let (who, when) = if source.are_shared() {
        ("every receiver", "within 30 s")
    } else {
        ("listen", "from its next start or SIGHUP")
    };
    ctx.out().note(&match keys.former.last() {
        Some((_, until)) => format!(
            "{who} accepts this key {when}, and the old one until {until}: subscribe this URL and unsubscribe the old \
             one before that"
        ),
        None => format!("{who} accepts only this key {when}: subscribe this URL and unsubscribe the old one"),
    });
    Ok(keys)
}

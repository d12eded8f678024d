//! Errors about endpoints that come from the environment or a file, which no error repeats.

use url::Url;

use crate::domain::secrets_in;
use crate::error::Error;
use crate::manifest::PlannedHook;

/// An error about a planned hook, without its endpoints: that of the manifest, if it is secret, and that on record.
pub(super) fn without_secrets(error: Error, planned: &PlannedHook) -> Error {
    let wanted = planned.wanted.as_ref().filter(|wanted| wanted.is_secret).map(|wanted| &wanted.target_url);
    let recorded = planned.record.as_ref().map(|record| &record.subscription.target_url);
    let texts = wanted.into_iter().chain(recorded).flat_map(|target| {
        let parts = Url::parse(target.expose()).map(|url| secrets_in(&url)).unwrap_or_default();
        [target.expose().to_owned(), target.redacted().into_owned()].into_iter().chain(parts)
    });
    let hide = |error: Error, secret: String| if error_names(&error, &secret) { error.hiding(&secret) } else { error };
    texts.fold(error, hide)
}

fn error_names(error: &Error, secret: &str) -> bool {
    error.message().contains(secret)
        || error.hints().iter().any(|hint| hint.contains(secret))
        || error.causes().any(|cause| cause.to_string().contains(secret))
}

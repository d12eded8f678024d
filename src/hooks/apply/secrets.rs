//! Errors about endpoints that come from the environment or a file, which no error repeats.

use crate::domain::texts_of;
use crate::error::Error;
use crate::manifest::PlannedHook;

/// What a command line in a hint has for an endpoint that is not shown.
const HIDDEN: &str = "--target-url '****'";

/// What it has instead: the endpoint is to be put into a file.
const IN_A_FILE: &str = "--target-url @FILE";

/// An error about a planned hook, without its endpoints: that of the manifest, if it is secret, and that on record.
pub(super) fn without_secrets(error: Error, planned: &PlannedHook) -> Error {
    if !planned.may_be_secret() {
        return error;
    }
    let wanted = planned.wanted.as_ref().filter(|wanted| wanted.is_secret).map(|wanted| &wanted.target_url);
    let recorded = planned.record.as_ref().map(|record| &record.subscription.target_url);
    let texts: Vec<String> = wanted.into_iter().chain(recorded).flat_map(texts_of).collect();
    let names = |text: &str| texts.iter().any(|secret| text.contains(secret.as_str()));
    let is_named = names(error.message())
        || error.hints().iter().any(|hint| names(hint))
        || error.causes().any(|cause| names(&cause.to_string()));
    if !is_named {
        return error;
    }
    let hide = |text: String, secret: &String| text.replace(secret.as_str(), "****");
    error.rewritten(|text| texts.iter().fold(text.to_owned(), hide).replace(HIDDEN, IN_A_FILE))
}

//! Errors about endpoints that come from the environment or a file, which no error repeats.

use crate::error::Error;
use crate::hooks::advice::target_flag;
use crate::manifest::PlannedHook;

/// What a command line in a hint has for an endpoint that is not shown: it is to be put into a file.
const IN_A_FILE: &str = "--target-url @FILE";

/// An error about a planned hook, which names its endpoints as the manifest does.
pub(super) fn without_secrets(error: Error, planned: &PlannedHook) -> Error {
    let Some(hidden) = planned.hidden_endpoints() else { return error };
    let is_named = hidden.is_in(error.message())
        || error.hints().iter().any(|hint| hidden.is_in(hint))
        || error.causes().any(|cause| hidden.is_in(&cause.to_string()));
    if !is_named {
        return error;
    }
    let flags: Vec<String> = hidden.targets().iter().map(|target| target_flag(target)).collect();
    let in_a_file =
        |text: &str| flags.iter().fold(text.to_owned(), |text, flag| text.replace(flag.as_str(), IN_A_FILE));
    error.rewritten(|text| hidden.hide(&in_a_file(text)))
}

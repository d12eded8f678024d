//! What to do about a hook that may or may not exist.

use crate::domain::{DocTopic, HookId, HookRecord, HookStatus, Subscription, TargetUrl};
use crate::error::{Error, ErrorKind};

/// The flags that select a subscription, quoted for a shell.
pub fn selector(subscription: &Subscription) -> String {
    let Subscription { app_id, event, target_url, .. } = subscription;
    format!("--app-id {app_id} --event {event} {}", target_flag(target_url))
}

/// The flag that names an endpoint, quoted for a shell.
pub(super) fn target_flag(target: &TargetUrl) -> String {
    format!("--target-url '{}'", target.redacted().replace('\'', r"'\''"))
}

/// The error of a subscription whose earlier attempt has an unknown outcome: nothing is sent until it is resolved.
pub fn unresolved(record: &HookRecord) -> Error {
    let (when, why) = (record.updated_at, record.reason.as_deref().unwrap_or("its outcome is not known"));
    let what = match record.status {
        HookStatus::Removing => "a removal of the same hook has no known outcome",
        _ => "an earlier request for it has no known outcome",
    };
    let message = format!("{} was not sent: {what} ({when}: {why})", record.subscription);
    with_ways_out(Error::new(ErrorKind::OutcomeUnknown, message), record)
}

/// Says what to do about a row whose hook may or may not exist.
pub(super) fn with_ways_out(error: Error, record: &HookRecord) -> Error {
    if let Some(hook) = record.hook_id {
        return error.hint(format!("finish the removal: bugfender-hooks unsubscribe {hook}"));
    }
    let selector = selector(&record.subscription);
    error
        .in_doubt()
        .hint(format!(
            "look for the hook in the Bugfender dashboard. If it is there: bugfender-hooks import HOOK_ID {selector}"
        ))
        .hint(format!("if it is not: bugfender-hooks forget --status unknown {selector}"))
        .hint(DocTopic::UnknownOutcome.hint())
}

/// The same error, for who can subscribe nevertheless.
pub fn or_by_force(error: Error, record: &HookRecord) -> Error {
    if record.hook_id.is_some() {
        return error;
    }
    error.hint("to subscribe anyway, perhaps receiving every event twice: add --force")
}

/// The error of a request to subscribe that may have been carried out, and left this record.
pub(super) fn in_doubt(error: Error, record: &HookRecord) -> Error {
    let message = format!("{error}; it is not known whether the hook was created");
    let mut shown = with_ways_out(Error::new(ErrorKind::OutcomeUnknown, message), record);
    if let Some(status) = error.http_status() {
        shown = shown.status(status);
    }
    shown.source(error)
}

/// The error of a hook that exists and could not be recorded: its id must not be lost.
pub(super) fn unrecorded(wanted: &Subscription, hook: HookId, error: Error) -> Error {
    let message = format!("hook {hook} was created for {wanted}, but could not be recorded: {error}");
    Error::new(ErrorKind::Store, message)
        .hint(format!("once the registry can be written: bugfender-hooks import {hook} {}", selector(wanted)))
        .source(error)
}

//! PostgreSQL as the store: how it is reached, and what is said when it is not.

mod chaos;
mod deployment;
mod failures;
mod faults;
mod harness;
mod passwords;
mod pooler;
mod proxy;
mod receivers;
mod senders;
mod shared_registry;
mod slow;
mod tls;
mod together;

use bugfender_hooks::error::Result;

use crate::support::postgres::connect_options;

/// Connects, and gives the version of the server.
fn version(url: &str, variables: &[(&str, &str)]) -> Result<String> {
    Ok(connect_options(url, variables)?.server_version()?)
}

/// What is wrong, its advice, and whether it may pass. It is an error of the store, and nowhere holds `hunter2`.
fn trouble(url: &str, variables: &[(&str, &str)]) -> (String, String, bool) {
    let error = version(url, variables).expect_err(url);
    assert_eq!(error.kind().exit_code().code, 9, "{error}");
    let causes: Vec<String> = error.causes().map(|cause| format!("{cause} {cause:?}")).collect();
    assert!(!format!("{error:?} {causes:?}").contains("hunter2"), "{error:?}");
    (error.to_string(), error.hints().join(" "), error.retryable())
}

/// Checks what is said of a URL: a part of the message, a part of the advice, whether it may pass.
fn assert_trouble(url: &str, says: &str, advises: &str, may_pass: bool) {
    let (message, advice, retryable) = trouble(url, &[]);
    assert!(message.contains(says), "{url}: {message}");
    assert!(advice.contains(advises), "{url}: {message}: {advice}");
    assert_eq!(retryable, may_pass, "{url}: {message}");
}

//! The platform's keyring: Secret Service, Keychain or Credential Manager. Each call is given up after a while: a
//! keyring may be locked, with nobody there to unlock it.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// The service that entries belong to.
pub(super) const SERVICE: &str = "bugfender-hooks";

/// How long a keyring may take to answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(3);

/// How long somebody at a terminal may take to unlock it.
pub(super) const TIMEOUT_WITH_PROMPT: Duration = Duration::from_secs(60);

/// Reads an entry; `None` when the keyring has none of this name.
///
/// # Errors
/// Why there is no keyring to ask.
pub(super) fn read(name: &str, timeout: Duration) -> Result<Option<String>, String> {
    let name = name.to_owned();
    ask(timeout, move || store::read(&name))
}

/// Writes an entry.
///
/// # Errors
/// Why there is no keyring to keep it.
pub(super) fn write(name: &str, text: String, timeout: Duration) -> Result<(), String> {
    let name = name.to_owned();
    ask(timeout, move || store::write(&name, &text))
}

/// Removes an entry, if it is there.
///
/// # Errors
/// Why there is no keyring to ask.
pub(super) fn remove(name: &str, timeout: Duration) -> Result<(), String> {
    let name = name.to_owned();
    ask(timeout, move || store::remove(&name))
}

/// Asks in a thread of its own, which is left behind when the time is up.
fn ask<T: Send + 'static>(
    timeout: Duration,
    question: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    if timeout.is_zero() {
        return Err("it is not asked".to_owned());
    }
    let (send, answer) = channel();
    let ask = move || {
        // Nobody waits for it any more when it took too long.
        let _ = send.send(question());
    };
    std::thread::Builder::new().spawn(ask).map_err(|error| error.to_string())?;
    match answer.recv_timeout(timeout) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => Err(format!("it did not answer within {} s", timeout.as_secs())),
        Err(RecvTimeoutError::Disconnected) => Err("it failed".to_owned()),
    }
}

/// The Secret Service of a desktop (<https://specifications.freedesktop.org/secret-service/latest/>). What goes over the
/// bus is encrypted, for whoever may listen there.
#[cfg(all(feature = "keyring", unix, not(target_os = "macos")))]
mod store {
    use std::collections::HashMap;

    use secret_service::blocking::{Item, SecretService};
    use secret_service::{EncryptionType, Error};

    const TEXT: &str = "text/plain";

    pub(super) fn read(name: &str) -> Result<Option<String>, String> {
        let service = connect()?;
        let Some(item) = items(&service, name).map_err(reason)?.into_iter().next() else { return Ok(None) };
        let secret = item.unlock().and_then(|()| item.get_secret()).map_err(reason)?;
        String::from_utf8(secret).map(Some).map_err(|_| "the entry is not text".to_owned())
    }

    pub(super) fn write(name: &str, text: &str) -> Result<(), String> {
        let service = connect()?;
        if let Some(item) = items(&service, name).map_err(reason)?.into_iter().next() {
            return item.unlock().and_then(|()| item.set_secret(text.as_bytes(), TEXT)).map_err(reason);
        }
        let collection = service.get_default_collection().map_err(reason)?;
        let label = format!("{}: {name}", super::SERVICE);
        // In the place of one that another process has made meanwhile.
        let create = || collection.create_item(&label, attributes(name), text.as_bytes(), true, TEXT);
        collection.unlock().and_then(|()| create()).map(drop).map_err(reason)
    }

    pub(super) fn remove(name: &str) -> Result<(), String> {
        let service = connect()?;
        for item in items(&service, name).map_err(reason)? {
            item.unlock().and_then(|()| item.delete()).map_err(reason)?;
        }
        Ok(())
    }

    fn connect() -> Result<SecretService<'static>, String> {
        SecretService::connect(EncryptionType::Dh).map_err(reason)
    }

    /// The entries of this name, those first that nobody has to unlock. (To unlock what is open does nothing.)
    fn items<'a>(service: &'a SecretService<'_>, name: &str) -> Result<Vec<Item<'a>>, Error> {
        let found = service.search_items(attributes(name))?;
        Ok(found.unlocked.into_iter().chain(found.locked).collect())
    }

    fn attributes(name: &str) -> HashMap<&str, &str> {
        HashMap::from([("service", super::SERVICE), ("username", name)])
    }

    fn reason(error: Error) -> String {
        match error {
            Error::NoResult => "there is no default keyring".to_owned(),
            Error::Locked => "it is locked".to_owned(),
            Error::Prompt => "it was not unlocked".to_owned(),
            error => error.to_string(),
        }
    }
}

/// Keychain or Credential Manager.
#[cfg(all(feature = "keyring", any(windows, target_os = "macos")))]
mod store {
    use keyring::v1::{Entry, Error};

    pub(super) fn read(name: &str) -> Result<Option<String>, String> {
        match entry(name)?.get_password() {
            Err(Error::NoEntry) => Ok(None),
            other => other.map(Some).map_err(reason),
        }
    }

    pub(super) fn write(name: &str, text: &str) -> Result<(), String> {
        entry(name)?.set_password(text).map_err(reason)
    }

    pub(super) fn remove(name: &str) -> Result<(), String> {
        match entry(name)?.delete_credential() {
            Err(Error::NoEntry) => Ok(()),
            other => other.map_err(reason),
        }
    }

    fn entry(name: &str) -> Result<Entry, String> {
        Entry::new(super::SERVICE, name).map_err(reason)
    }

    fn reason(error: Error) -> String {
        match (error, Entry::store_status()) {
            (Error::NoDefaultStore, Err(error)) => error.to_string(),
            // What it wraps may be the secret.
            (Error::BadEncoding(_), _) => "the entry is not text".to_owned(),
            (error, _) => error.to_string(),
        }
    }
}

#[cfg(not(feature = "keyring"))]
mod store {
    const NONE: &str = "this bugfender-hooks was built without keyrings";

    pub(super) fn read(_name: &str) -> Result<Option<String>, String> {
        Err(NONE.to_owned())
    }

    pub(super) fn write(_name: &str, _text: &str) -> Result<(), String> {
        Err(NONE.to_owned())
    }

    pub(super) fn remove(_name: &str) -> Result<(), String> {
        Err(NONE.to_owned())
    }
}

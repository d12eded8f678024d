//! The platform's keyring: Secret Service, Keychain or Credential Manager. Each access has a timeout, as a keyring may
//! be locked with no user present to unlock it.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// The service name of all entries.
pub(super) const SERVICE: &str = "bugfender-hooks";

/// The timeout without a terminal.
pub(super) const TIMEOUT: Duration = Duration::from_secs(3);

/// The timeout with a terminal, where a user may have to unlock the keyring.
pub(super) const TIMEOUT_WITH_PROMPT: Duration = Duration::from_secs(60);

/// Reads an entry; `None` if there is none with this name.
///
/// # Errors
/// Why the keyring is unavailable.
pub(super) fn read(name: &str, timeout: Duration) -> Result<Option<String>, String> {
    let name = name.to_owned();
    run(timeout, move || store::read(&name))
}

/// Writes an entry.
///
/// # Errors
/// Why the keyring is unavailable.
pub(super) fn write(name: &str, text: String, timeout: Duration) -> Result<(), String> {
    let name = name.to_owned();
    run(timeout, move || store::write(&name, &text))
}

/// Removes an entry, if it exists.
///
/// # Errors
/// Why the keyring is unavailable.
pub(super) fn remove(name: &str, timeout: Duration) -> Result<(), String> {
    let name = name.to_owned();
    run(timeout, move || store::remove(&name))
}

/// Runs an access in its own thread, which is abandoned after the timeout.
fn run<T: Send + 'static>(
    timeout: Duration,
    access: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    if timeout.is_zero() {
        return Err("access is disabled".to_owned());
    }
    let (send, result) = channel();
    let run = move || {
        // Fails after the timeout, when the receiver is gone.
        let _ = send.send(access());
    };
    std::thread::Builder::new().spawn(run).map_err(|error| error.to_string())?;
    match result.recv_timeout(timeout) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(format!("no response within {} s", timeout.as_secs())),
        Err(RecvTimeoutError::Disconnected) => Err("the access failed".to_owned()),
    }
}

/// The Secret Service of a desktop (<https://specifications.freedesktop.org/secret-service/latest/>). Secrets are
/// encrypted on the bus.
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
        // Replaces an entry that another process has created meanwhile.
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

    /// The entries with this name, unlocked ones first.
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
            // The error may contain the secret.
            (Error::BadEncoding(_), _) => "the entry is not text".to_owned(),
            (error, _) => error.to_string(),
        }
    }
}

#[cfg(not(feature = "keyring"))]
mod store {
    const NONE: &str = "this bugfender-hooks was built without keyring support";

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

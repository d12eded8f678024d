//! The platform's keyring: Secret Service, Keychain or Credential Manager. Each call is given up after a while: a
//! keyring may be locked, with nobody there to unlock it.

use std::time::Duration;

/// The service that entries belong to.
pub(super) const SERVICE: &str = "bugfender-hooks";

/// How long a keyring may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// How long somebody at a terminal may take to unlock it.
pub(super) const PATIENCE_WITH_A_PERSON: Duration = Duration::from_secs(60);

/// Reads an entry; `None` when the keyring has none of this name.
///
/// # Errors
/// Why there is no keyring to ask.
pub(super) fn read(name: &str, patience: Duration) -> Result<Option<String>, String> {
    platform::read(name.to_owned(), patience)
}

/// Writes an entry.
///
/// # Errors
/// Why there is no keyring to keep it.
pub(super) fn write(name: &str, text: String, patience: Duration) -> Result<(), String> {
    platform::write(name.to_owned(), text, patience)
}

/// Removes an entry, if it is there.
///
/// # Errors
/// Why there is no keyring to ask.
pub(super) fn remove(name: &str, patience: Duration) -> Result<(), String> {
    platform::remove(name.to_owned(), patience)
}

#[cfg(feature = "keyring")]
mod platform {
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::time::Duration;

    use keyring::v1::{Entry, Error, Result as KeyringResult};

    pub(super) fn read(name: String, patience: Duration) -> Result<Option<String>, String> {
        ask(name, patience, |entry| match entry.get_password() {
            Err(Error::NoEntry) => Ok(None),
            other => other.map(Some),
        })
    }

    pub(super) fn write(name: String, text: String, patience: Duration) -> Result<(), String> {
        ask(name, patience, move |entry| entry.set_password(&text))
    }

    pub(super) fn remove(name: String, patience: Duration) -> Result<(), String> {
        ask(name, patience, |entry| match entry.delete_credential() {
            Err(Error::NoEntry) => Ok(()),
            other => other,
        })
    }

    /// Asks in a thread of its own, which is left behind when the time is up.
    fn ask<T: Send + 'static>(
        name: String,
        patience: Duration,
        question: impl FnOnce(Entry) -> KeyringResult<T> + Send + 'static,
    ) -> Result<T, String> {
        if patience.is_zero() {
            return Err("it is not asked".to_owned());
        }
        let (send, answer) = channel();
        let ask = move || {
            let answer = Entry::new(super::SERVICE, &name).and_then(question);
            // Nobody waits for it any more when it took too long.
            let _ = send.send(answer.map_err(|error| reason(&error)));
        };
        std::thread::Builder::new().spawn(ask).map_err(|error| error.to_string())?;
        match answer.recv_timeout(patience) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(format!("it did not answer within {} s", patience.as_secs())),
            Err(RecvTimeoutError::Disconnected) => Err("it failed".to_owned()),
        }
    }

    fn reason(error: &Error) -> String {
        match error {
            Error::NoDefaultStore => match Entry::store_status() {
                Err(error) => error.to_string(),
                Ok(()) => error.to_string(),
            },
            // What it wraps may be the secret.
            Error::BadEncoding(_) => "the entry is not text".to_owned(),
            error => error.to_string(),
        }
    }
}

#[cfg(not(feature = "keyring"))]
mod platform {
    use std::time::Duration;

    const NONE: &str = "this bugfender-hooks was built without keyrings";

    pub(super) fn read(_name: String, _patience: Duration) -> Result<Option<String>, String> {
        Err(NONE.to_owned())
    }

    pub(super) fn write(_name: String, _text: String, _patience: Duration) -> Result<(), String> {
        Err(NONE.to_owned())
    }

    pub(super) fn remove(_name: String, _patience: Duration) -> Result<(), String> {
        Err(NONE.to_owned())
    }
}

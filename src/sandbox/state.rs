//! The state of a sandbox.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::assertion::ClientKey;
use super::emitted::Emitted;
use super::fault::{FaultKind, Operation};
use super::{Fault, SandboxOptions};
use crate::domain::{AccessToken, EventKind, TargetUrl};
use crate::error::{Error, ErrorKind, Result};

/// The maximum number of log entries of each kind.
const LOG_LENGTH: usize = 10_000;

/// After how many failed deliveries in a row a hook is deactivated. Bugfender says "for an extended period".
const FAILURES_TO_DEACTIVATE: u32 = 5;

pub(super) struct State {
    /// The token that never expires.
    pub(super) token: String,
    /// The URL of the sandbox.
    pub(super) url: String,
    pub(super) hooks: Hooks,
    pub(super) requests: VecDeque<LoggedRequest>,
    /// How many logged requests have been dropped.
    dropped: usize,
    pub(super) deliveries: VecDeque<SentDelivery>,
    pub(super) events: Emitted,
    pub(super) grants: Grants,
    /// The public key of the service account, if any.
    pub(super) client_key: Option<ClientKey>,
    faults: Vec<Fault>,
}

/// The part of the state that is stored with `--state`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Hooks {
    next_id: i64,
    pub(super) hooks: Vec<Hook>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { next_id: 1, hooks: Vec::new() }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Hook {
    pub(super) id: i64,
    pub(super) app_id: i64,
    pub(super) event: EventKind,
    pub(super) target_url: String,
    pub(super) active: bool,
    pub(super) failures_in_a_row: u32,
}

impl Hook {
    /// The hook with its password redacted.
    pub(super) fn shown(&self) -> Self {
        let target_url = TargetUrl::from_stored(self.target_url.clone()).into_shown(false);
        Self { target_url, ..self.clone() }
    }
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct LoggedRequest {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) authorization: Option<String>,
    pub(super) user_agent: Option<String>,
    pub(super) body: Option<Value>,
    /// The status of the response; `None` while it is pending, or if the connection was closed instead.
    pub(super) status: Option<u16>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct SentDelivery {
    pub(super) hook_id: i64,
    pub(super) target_url: String,
    pub(super) at: Timestamp,
    pub(super) event_ids: Vec<Value>,
    pub(super) duplicate: bool,
    pub(super) status: Option<u16>,
    pub(super) error: Option<String>,
}

/// The tokens and codes that OAuth has granted.
#[derive(Default)]
pub(super) struct Grants {
    pub(super) access: HashMap<String, Instant>,
    pub(super) refresh: HashMap<String, String>,
    pub(super) codes: HashMap<String, Code>,
    /// The `jti` of assertions that were used, each of which is accepted once.
    pub(super) assertions: HashSet<String>,
}

/// An authorization code and what it is bound to.
#[derive(Debug, Clone)]
pub(super) struct Code {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) challenge: Option<String>,
}

impl State {
    pub(super) fn load(options: &SandboxOptions, url: String) -> Result<Self> {
        options.token.as_deref().map(AccessToken::parse).transpose()?;
        let hooks = options.state.as_deref().map_or(Ok(Hooks::default()), Hooks::load)?;
        Ok(Self {
            token: options.token.clone().unwrap_or_else(|| format!("sandbox-{}", random(24))),
            url,
            hooks,
            requests: VecDeque::new(),
            dropped: 0,
            deliveries: VecDeque::new(),
            events: Emitted::default(),
            grants: Grants::default(),
            client_key: options.client_key.as_deref().map(ClientKey::read).transpose()?,
            faults: options.faults.clone(),
        })
    }

    /// Resets everything except the token, faults included.
    pub(super) fn reset(&mut self, options: &SandboxOptions) {
        self.hooks = Hooks::default();
        self.dropped += self.requests.len();
        self.requests.clear();
        self.deliveries.clear();
        self.events.clear();
        self.grants = Grants::default();
        self.faults.clone_from(&options.faults);
    }

    /// Logs a request and returns its number; [`State::set_status`] adds the status of the response.
    pub(super) fn log(&mut self, request: LoggedRequest) -> usize {
        if self.requests.len() >= LOG_LENGTH {
            self.requests.pop_front();
            self.dropped += 1;
        }
        self.requests.push_back(request);
        self.dropped + self.requests.len() - 1
    }

    pub(super) fn set_status(&mut self, number: usize, status: Option<u16>) {
        let index = number.checked_sub(self.dropped);
        if let Some(request) = index.and_then(|index| self.requests.get_mut(index)) {
            request.status = status;
        }
    }

    /// The fault to inject into this operation now, if any.
    pub(super) fn take_fault(&mut self, operation: Operation) -> Option<FaultKind> {
        let applies = |fault: &&mut Fault| fault.operation == operation && fault.left != Some(0);
        let fault = self.faults.iter_mut().find(applies)?;
        fault.left = fault.left.map(|left| left - 1);
        Some(fault.kind)
    }

    pub(super) fn record_delivery(&mut self, delivery: SentDelivery) {
        if let Some(hook) = self.hooks.hooks.iter_mut().find(|hook| hook.id == delivery.hook_id) {
            let failed = delivery.status.is_none_or(|status| !(200..300).contains(&status));
            hook.failures_in_a_row = if failed { hook.failures_in_a_row + 1 } else { 0 };
            hook.active &= hook.failures_in_a_row < FAILURES_TO_DEACTIVATE;
        }
        if self.deliveries.len() >= LOG_LENGTH {
            self.deliveries.pop_front();
        }
        self.deliveries.push_back(delivery);
    }
}

impl Hooks {
    fn load(path: &Path) -> Result<Self> {
        let wrong = |what: String| Error::usage(format!("the state file {} {what}", path.display()));
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| wrong(format!("is invalid: {error}"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(wrong(format!("cannot be read: {error}")).source(error)),
        }
    }

    /// Adds a hook. The API is not idempotent: the same request twice creates two.
    pub(super) fn add(&mut self, app_id: i64, event: EventKind, target_url: String) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        self.hooks.push(Hook { id, app_id, event, target_url, active: true, failures_in_a_row: 0 });
        id
    }

    /// Removes a hook. Returns whether it existed.
    pub(super) fn remove(&mut self, id: i64) -> bool {
        let before = self.hooks.len();
        self.hooks.retain(|hook| hook.id != id);
        self.hooks.len() < before
    }

    /// Deactivates a hook. Returns whether it exists.
    pub(super) fn deactivate(&mut self, id: i64) -> bool {
        let hook = self.hooks.iter_mut().find(|hook| hook.id == id);
        hook.map(|hook| hook.active = false).is_some()
    }

    /// Stores the hooks in the state file, if there is one: temporary file, then rename.
    pub(super) fn save(&self, path: Option<&Path>) -> Result<()> {
        let Some(path) = path else { return Ok(()) };
        let write = || -> io::Result<()> {
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut temporary = tempfile::NamedTempFile::new_in(dir)?;
            serde_json::to_writer_pretty(&mut temporary, self)?;
            temporary.persist(path)?;
            Ok(())
        };
        write().map_err(|error| {
            Error::new(ErrorKind::Other, format!("the state file {} cannot be written: {error}", path.display()))
        })
    }
}

/// Random letters and digits for tokens. Not cryptographically secure, as the sandbox protects nothing.
pub(super) fn random(length: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(length).collect()
}

//! Subscribing: record the intent, send the request, record what came of it. What is subscribed already the
//! [registry](crate::store::Registry) finds, in the transaction that records the intent.

use std::cell::OnceCell;
use std::time::Duration;

use jiff::Timestamp;

use super::advice::{in_doubt, or_by_force, unrecorded, unresolved, with_ways_out};
use super::frontend::Frontend;
use crate::api::{AuthenticatedApi, CarriedOut, Failure};
use crate::domain::{HookId, HookRecord, HostScope, Label, RowId, Subscription};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Activated, Conflict, Registry, Reservation, StoreError, SubscriptionIntent};

/// How often to look whether another process has finished the same subscription.
const SUBSCRIBING_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How to subscribe.
#[derive(Debug, Clone, Copy, Default)]
pub struct SubscribeOptions<'a> {
    /// The label of the hooks that are made.
    pub label: Option<&'a Label>,
    /// Whether the request is sent even if the registry holds such a hook already.
    pub force: bool,
    /// Whether hooks on record are made anew. That cannot be forced too.
    pub replace: bool,
}

/// A requested hook, with its current record.
#[derive(Debug)]
pub struct Subscribed {
    /// Its row.
    pub record: HookRecord,
    /// Whether it was made just now.
    pub created: bool,
    /// The hook whose place it has taken, and which is gone.
    pub replaced: Option<HookId>,
}

impl Subscribed {
    pub(super) fn found(record: HookRecord) -> Self {
        Self { record, created: false, replaced: None }
    }

    pub(super) fn made(record: HookRecord) -> Self {
        Self { record, created: true, replaced: None }
    }
}

/// A subscription that did not come to be, with the row it left.
#[derive(Debug)]
pub struct SubscribeFailure {
    /// The row of a hook that may or may not exist.
    pub record: Option<Box<HookRecord>>,
    /// Why there is no hook, or none that is known.
    pub error: Error,
}

impl SubscribeFailure {
    pub(super) fn with_record(record: Box<HookRecord>, error: Error) -> Self {
        Self { record: Some(record), error }
    }
}

impl From<Error> for SubscribeFailure {
    fn from(error: Error) -> Self {
        Self { record: None, error }
    }
}

impl From<StoreError> for SubscribeFailure {
    fn from(error: StoreError) -> Self {
        Error::from(error).into()
    }
}

/// Makes hooks that do not exist yet. There is at most one request for a subscription: when it is not known whether an
/// earlier one was carried out, none is sent.
pub struct Subscriber<'a, F> {
    pub(super) frontend: &'a F,
    pub(super) registry: &'a dyn Registry,
    sign_in: &'a dyn Fn() -> Result<AuthenticatedApi>,
    pub(super) options: SubscribeOptions<'a>,
    api: OnceCell<AuthenticatedApi>,
}

impl<'a, F: Frontend> Subscriber<'a, F> {
    /// One that gets its client from `sign_in`, when there is the first request to send: a hook that exists needs none.
    pub fn new(
        frontend: &'a F,
        registry: &'a dyn Registry,
        sign_in: &'a dyn Fn() -> Result<AuthenticatedApi>,
        options: SubscribeOptions<'a>,
    ) -> Self {
        Self { frontend, registry, sign_in, options, api: OnceCell::new() }
    }

    /// Subscribes all of these, in order, whatever becomes of one of them; an interruption, and that nobody is signed
    /// in, ends it. What went wrong is given beside what did not.
    pub fn subscribe_each(&self, wanted: &[Subscription]) -> (Vec<Subscribed>, Vec<Error>) {
        let (mut done, mut errors) = (Vec::new(), Vec::new());
        for subscription in wanted {
            match self.subscribe(subscription) {
                Ok(subscribed) => done.push(subscribed),
                Err(SubscribeFailure { record, error }) => {
                    let stop = ends_all(&error);
                    errors.push(error);
                    done.extend(record.map(|record| Subscribed::found(*record)));
                    if stop {
                        break;
                    }
                }
            }
        }
        (done, errors)
    }

    /// Subscribes one event; waits while another process subscribes the same.
    ///
    /// # Errors
    /// When there is no hook now, or it is not known whether there is one.
    pub fn subscribe(&self, wanted: &Subscription) -> Result<Subscribed, SubscribeFailure> {
        loop {
            let conflict = if self.options.force { None } else { self.registry.find_conflict(wanted)? };
            match conflict {
                Some(Conflict::Exists(record)) => {
                    self.note_missing_label(&record);
                    return Ok(Subscribed::found(*record));
                }
                Some(Conflict::Unresolved(record)) => {
                    let error = self.or_by_force(unresolved(&record), &record);
                    return Err(SubscribeFailure::with_record(record, error));
                }
                Some(Conflict::InProgress) => self.wait(wanted)?,
                None => {
                    // Only now, as a hook that exists needs no token; and before the intent is recorded.
                    let api = self.api()?;
                    // From now on only what waits notices an interruption: nothing ends between intent and request.
                    self.frontend.wait(async {})?.ok_or_else(|| not_subscribed(wanted))?;
                    let SubscribeOptions { label, force, .. } = self.options;
                    let intent =
                        SubscriptionIntent { label: label.cloned(), force, ..SubscriptionIntent::of(wanted.clone()) };
                    let begun = self.registry.begin_subscribe(&intent, Timestamp::now())?;
                    if let Reservation::Reserved(row) = begun {
                        return self.send(api, wanted, row).map(Subscribed::made);
                    }
                }
            }
        }
    }

    pub(super) fn note_missing_label(&self, record: &HookRecord) {
        if let Some(label) = self.options.label.filter(|label| record.label.as_ref() != Some(label)) {
            self.frontend.note(&format!(
                "{} exists, without the label {label}: `bugfender-hooks import`, with that hook and --label, gives it \
                 one",
                record.name()
            ));
        }
    }

    fn or_by_force(&self, error: Error, record: &HookRecord) -> Error {
        if self.options.replace { error } else { or_by_force(error, record) }
    }

    pub(super) fn api(&self) -> Result<&AuthenticatedApi> {
        if self.api.get().is_none() {
            let api = (self.sign_in)()?;
            return Ok(self.api.get_or_init(|| api));
        }
        self.api.get().ok_or_else(|| Error::new(ErrorKind::Other, "the client is gone"))
    }

    /// Lets the process that subscribes the same get on with it.
    pub(super) fn wait(&self, wanted: &Subscription) -> Result<()> {
        let slept = self.frontend.wait(async { tokio::time::sleep(SUBSCRIBING_POLL_INTERVAL).await })?;
        slept.ok_or_else(|| Error::interrupted(format_args!("while another process subscribes to {wanted}")))
    }

    /// Sends the request for a recorded intent and records what came of it.
    pub(super) fn send(
        &self,
        api: &AuthenticatedApi,
        wanted: &Subscription,
        row: RowId,
    ) -> Result<HookRecord, SubscribeFailure> {
        match self.frontend.wait(api.subscribe(wanted))? {
            Some(Ok(hook)) => {
                let Activated { record, displaced } = self
                    .registry
                    .activate(row, hook, Timestamp::now())
                    .map_err(|error| unrecorded(wanted, hook, error.into()))?;
                if let Some(displaced) = displaced {
                    self.frontend.warn(&format!(
                        "hook {hook} was on record as {}: the server gives its number to this one, so that record is \
                         gone now",
                        displaced.subscription
                    ));
                }
                Ok(record)
            }
            Some(Err(Failure { error, carried_out: CarriedOut::No, .. })) => {
                self.registry.abandon(row)?;
                Err(error.into())
            }
            Some(Err(Failure { error, carried_out: CarriedOut::Maybe, .. })) => {
                let record = Box::new(self.registry.leave_in_doubt(row, &error.to_string(), Timestamp::now())?);
                let error = self.or_by_force(in_doubt(error, &record), &record);
                Err(SubscribeFailure::with_record(record, error))
            }
            None if !api.may_have_been_carried_out() => {
                self.registry.abandon(row)?;
                Err(not_subscribed(wanted).into())
            }
            None => {
                let record = Box::new(self.registry.leave_in_doubt(
                    row,
                    "interrupted before a response came",
                    Timestamp::now(),
                )?);
                let what = format_args!("while subscribing to {wanted}; it is not known whether the hook was created");
                let error = self.or_by_force(with_ways_out(Error::interrupted(what), &record), &record);
                Err(SubscribeFailure::with_record(record, error))
            }
        }
    }
}

/// Whether it is the same for all others: an interruption, and that nobody is signed in.
pub(super) fn ends_all(error: &Error) -> bool {
    let is_signed_out = error.kind() == ErrorKind::NotSignedIn && error.http_status().is_none();
    error.kind() == ErrorKind::Interrupted || is_signed_out
}

pub(super) fn not_subscribed(wanted: &Subscription) -> Error {
    Error::interrupted(format_args!("before {wanted} was subscribed; nothing was changed"))
}

/// Refuses a target that cannot be meant, and warns of one that Bugfender cannot reach; `shown` is what the warning
/// calls it.
///
/// # Errors
/// A usage error for a target whose password is hidden.
pub fn check_target(frontend: &impl Frontend, subscription: &Subscription, shown: &str) -> Result<()> {
    if subscription.target_url.is_redacted() {
        return Err(Error::usage("the password in the target URL is hidden (****)")
            .hint("give the whole URL; `bugfender-hooks list --show-secrets` shows those on record"));
    }
    let place = match subscription.target_url.scope() {
        HostScope::Public => return Ok(()),
        HostScope::Loopback => "this machine",
        HostScope::Private => "a private network",
    };
    if !subscription.origin.is_loopback() {
        frontend.warn(&format!("{shown} is on {place}: Bugfender can't reach it"));
    }
    Ok(())
}

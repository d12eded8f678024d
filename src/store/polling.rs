//! What is known of events beyond those that are stored: when webhooks last brought some, how far apps were polled, and
//! what polling found.

use jiff::Timestamp;

use super::StoreError;
use super::queue::Route;
use crate::domain::{ApiOrigin, AppId, IssueList};

/// When webhooks last brought an event of an app and a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The number of the app.
    pub app_id: i64,
    /// The type, in lower case.
    pub event_type: String,
    /// When the last one was received, be it a duplicate of one that polling had brought.
    pub last_at: Timestamp,
}

/// Events of an app and a type that polling found and no webhook had brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissedEvents {
    /// The app.
    pub app_id: AppId,
    /// The type, in lower case.
    pub event_type: String,
    /// How many of them were stored since a webhook last brought one.
    pub events: u64,
    /// When the newest of them was made.
    pub last_at: Timestamp,
    /// When it was found.
    pub found_at: Timestamp,
}

/// How far polling has come. Any process may poll.
pub trait Polling: Send {
    /// When webhooks last brought events, by app and type: of those that say both.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn arrivals(&self) -> Result<Vec<Arrival>, StoreError>;

    /// The time up to which a list of an app was read, and all that was new in it stored.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn polled_until(&self, origin: &ApiOrigin, app: AppId, list: IssueList) -> Result<Option<Timestamp>, StoreError>;

    /// Notes that a list was read up to this time, unless it was read further before.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn note_polled(
        &mut self,
        origin: &ApiOrigin,
        app: AppId,
        list: IssueList,
        until: Timestamp,
    ) -> Result<(), StoreError>;

    /// What polling found and no webhook had brought.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn missed_events(&self, origin: &ApiOrigin) -> Result<Vec<MissedEvents>, StoreError>;

    /// Puts on record what polling found: these numbers, and the later times.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn note_missed(&mut self, origin: &ApiOrigin, missed: &[MissedEvents]) -> Result<(), StoreError>;

    /// The routes of the last receiver.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn routes(&self) -> Result<Vec<Route>, StoreError>;

    /// Puts the routes of a receiver on record, in the place of those of the one before.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn set_routes(&mut self, routes: &[Route]) -> Result<(), StoreError>;
}

/// A route as it is on record: what it says of types, and of events that go together.
pub(super) fn stored_route(route: &Route) -> (Option<String>, i64) {
    ((!route.types.is_empty()).then(|| route.types.join(",")), i64::from(route.together))
}

/// Reads what [`stored_route`] wrote.
pub(super) fn read_types(types: Option<String>) -> Vec<String> {
    types.map(|types| types.split(',').map(str::to_owned).collect()).unwrap_or_default()
}

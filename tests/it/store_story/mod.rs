//! The store's story: the same for every backend, told in terms of the store alone. A story opens the store's parts
//! again and again, as processes that come and go do.

mod again;
mod deleting;
mod figures;
mod forwarding;
mod looking;
mod migrating;
mod ownership;
mod polling;
mod polling_files;
mod purging;
mod receiving;
mod registry;
mod replacing;
mod restoring;
mod searching;
mod sqlite_files;
mod targets;
mod together;

use std::sync::OnceLock;
use std::time::Duration;

use bugfender_hooks::domain::delivery::Delivery;
use bugfender_hooks::store::{
    Actor, AttemptOutcome, AttemptReport, ClaimRequest, EventPage, EventRecord, EventSelection, EventSeq, Events,
    Leased, Receipt, ReceiverInbox, Route, Settled, Settlement, Store, StoreError, TargetId, TargetName,
};

use bugfender_hooks::store::postgres::PostgresStore;
use bugfender_hooks::store::sqlite::SqliteStore;
use tempfile::TempDir;

use crate::support::inbox::{at, encoded};
use crate::support::postgres::{PgBouncer, connect_options, server as postgres_server};

/// An inbox that receives.
fn receiver(store: &dyn Store) -> Box<dyn ReceiverInbox> {
    store.receiver_inbox().unwrap()
}

fn try_commit(
    inbox: &mut dyn ReceiverInbox,
    deliveries: &[Delivery],
    routes: &[Route],
) -> Result<Vec<Receipt>, StoreError> {
    inbox.commit(&encoded(deliveries), routes)
}

fn commit(inbox: &mut dyn ReceiverInbox, deliveries: &[Delivery], routes: &[Route]) -> Vec<Receipt> {
    try_commit(inbox, deliveries, routes).unwrap()
}

/// Commits one delivery and says which of its events are new.
fn is_new(inbox: &mut dyn ReceiverInbox, delivery: Delivery) -> Vec<bool> {
    let receipts = commit(inbox, &[delivery], &[]);
    receipts[0].events.iter().map(Option::is_some).collect()
}

fn target(inbox: &mut dyn ReceiverInbox, name: &str) -> TargetId {
    inbox.targets(&[TargetName { key: name.to_owned(), shown: format!("https://{name}") }]).unwrap()[0]
}

/// Everything to this target, the events of a delivery together.
fn all_to(target: TargetId) -> Route {
    Route { target, types: Vec::new(), together: true }
}

fn events(inbox: &dyn Events, selection: &EventSelection, page: EventPage) -> Vec<EventRecord> {
    let mut found = Vec::new();
    inbox
        .events(selection, page, &mut |event| {
            found.push(event);
            true
        })
        .unwrap();
    found
}

/// The ids of the events that are meant, oldest first.
fn ids(inbox: &dyn Events, selection: &EventSelection) -> Vec<String> {
    events(inbox, selection, EventPage::default()).into_iter().map(|event| event.id).collect()
}

fn all(inbox: &dyn Events) -> Vec<EventRecord> {
    events(inbox, &EventSelection::default(), EventPage::default())
}

fn with_ids(ids: &[&str]) -> EventSelection {
    EventSelection { ids: Some(ids.iter().map(|id| (*id).to_owned()).collect()), ..EventSelection::default() }
}

fn seq(inbox: &dyn Events, id: &str) -> EventSeq {
    events(inbox, &with_ids(&[id]), EventPage::default())[0].seq
}

/// How long leases last in the stories.
const LEASE: Duration = Duration::from_secs(1000);

fn claim_some(inbox: &mut dyn ReceiverInbox, target: TargetId, second: i64, request: ClaimRequest) -> Vec<Leased> {
    inbox.claim(target, request, at(second), LEASE).unwrap()
}

fn ids_of(leased: &Leased) -> Vec<&str> {
    leased.forward.events.iter().map(|event| event.id.as_str()).collect()
}

fn settle(inbox: &mut dyn ReceiverInbox, leased: &Leased, second: i64, outcome: AttemptOutcome) -> Settled {
    inbox
        .settle(&[Settlement { lease: leased.lease(), at: at(second), outcome, report: AttemptReport::default() }])
        .unwrap()[0]
}

/// Who changes the registry in the stories.
const ACTOR: &str = "ada@build-1";

/// A store of its own for a story.
trait Fixture {
    /// A store that holds nothing, for [`ACTOR`]; `None` where its server is not installed, which is a failure in CI.
    fn empty() -> Option<Self>
    where
        Self: Sized;

    fn store(&self) -> &dyn Store;
}

/// A store in files of a scratch directory.
struct SqliteFixture {
    store: SqliteStore,
    _dir: TempDir,
}

impl Fixture for SqliteFixture {
    fn empty() -> Option<Self> {
        let (dir, store) = sqlite_files::scratch();
        Some(Self { store: store.by(Actor::new(ACTOR)), _dir: dir })
    }

    fn store(&self) -> &dyn Store {
        &self.store
    }
}

/// A store in a database of its own.
struct PostgresFixture {
    store: PostgresStore,
}

impl Fixture for PostgresFixture {
    fn empty() -> Option<Self> {
        let server = postgres_server()?;
        let url = server.url(&server.new_database());
        let options = connect_options(&url, &[]).unwrap();
        Some(Self { store: PostgresStore::new(options).by(Actor::new(ACTOR)) })
    }

    fn store(&self) -> &dyn Store {
        &self.store
    }
}

/// The same behind a pooler, which gives each transaction another connection.
struct PooledFixture {
    store: PostgresStore,
}

impl Fixture for PooledFixture {
    fn empty() -> Option<Self> {
        static BOUNCER: OnceLock<Option<PgBouncer>> = OnceLock::new();
        let server = postgres_server()?;
        let bouncer = BOUNCER.get_or_init(|| PgBouncer::start(server)).as_ref()?;
        let options = connect_options(&bouncer.url(&server.new_database()), &[]).unwrap();
        Some(Self { store: PostgresStore::new(options).by(Actor::new(ACTOR)) })
    }

    fn store(&self) -> &dyn Store {
        &self.store
    }
}

/// A test for each of these stories.
macro_rules! each_story {
    ($fixture:ty; $($part:ident::$story:ident),* $(,)?) => {$(
        #[test]
        fn $story() {
            if let Some(fixture) = <$fixture>::empty() {
                super::$part::$story(fixture.store());
            }
        }
    )*};
}

/// Every story on each of these backends.
macro_rules! stories {
    ($($backend:ident: $fixture:ty),* $(,)?) => {$(
        mod $backend {
            use super::Fixture;

            each_story! { $fixture;
                receiving::what_is_committed_is_there,
                receiving::duplicates_are_counted_and_dropped,
                receiving::numbers_and_texts_are_two_ids,
                receiving::reports_without_ids_are_the_same_for_a_time,
                receiving::one_id_of_two_apps_is_two_events,
                receiving::duplicates_are_known_among_very_many,
                receiving::what_cannot_be_read_is_kept_apart,
                receiving::what_is_read_again_leaves_quarantine,
                receiving::tests_of_targets_are_no_arrivals,
                receiving::any_number_look_beside_a_receiver,
                forwarding::routes_pick_events,
                forwarding::claims_come_in_order_and_once,
                forwarding::settlements_say_what_became_of_events,
                forwarding::failed_ones_do_not_hold_up_new_ones,
                forwarding::what_waits_too_long_is_given_up,
                forwarding::claims_are_bounded_in_bytes,
                forwarding::leases_end_unless_they_are_renewed,
                forwarding::a_lost_lease_records_nothing,
                forwarding::a_purged_claim_is_not_taken_for_another,
                targets::attempts_are_kept_and_go_with_their_event,
                targets::a_paused_target_is_left_alone,
                targets::targets_may_have_an_age_of_their_own,
                targets::a_failing_target_is_on_record,
                targets::what_is_dropped_stays_dropped,
                targets::what_is_skipped_was_never_on_its_way,
                looking::selections_meet_every_condition,
                looking::a_state_is_that_of_all_targets_or_of_one,
                looking::bodies_are_read_as_they_came,
                looking::pages_have_an_order_and_an_end,
                looking::events_are_counted_by_kind,
                figures::events_are_counted_by_steps_of_time,
                figures::what_was_accepted_says_how_long_it_took,
                figures::an_event_has_its_delivery,
                searching::events_are_found_by_what_they_say,
                searching::a_search_ends_where_it_must,
                searching::what_is_found_is_requeued,
                again::events_are_forwarded_again_once_at_a_time,
                again::a_receiver_goes_on_beside_it,
                again::many_events_are_forwarded_again,
                purging::what_is_old_goes_but_for_what_waits,
                purging::the_oldest_go_until_it_is_small,
                purging::no_more_goes_than_must,
                purging::purged_events_leave_their_places_empty,
                purging::runs_of_purged_events_go_with_them,
                purging::what_waits_is_looked_at_once,
                purging::the_oldest_go_first_read_or_not,
                purging::a_step_removes_few_rows,
                deleting::what_is_deleted_is_gone_with_its_copies,
                deleting::copies_go_whenever_they_came,
                deleting::many_are_deleted_from_few_and_from_many_deliveries,
                polling::what_is_polled_says_so,
                polling::what_is_polled_is_known_to_webhooks_and_back,
                polling::one_id_of_two_apps_is_told_apart_by_its_number,
                polling::what_polling_finds_again_is_no_duplicate,
                polling::groups_may_have_both,
                polling::arrivals_are_those_of_webhooks,
                polling::arrivals_are_put_on_record_in_pieces,
                polling::arrivals_outlive_their_events,
                polling::what_was_purged_arrived,
                polling::cursors_do_not_go_back,
                polling::missed_events_are_numbers_and_later_times,
                polling::routes_are_those_of_the_last_receiver,
                registry::subscriptions_are_made_once,
                registry::what_is_in_doubt_stands_in_the_way,
                registry::removals_end_one_way_or_another,
                registry::every_change_is_in_the_history,
                registry::a_hook_has_the_history_of_all_its_rows,
                registry::what_changes_nothing_is_not_in_the_history,
                ownership::a_batch_ends_some_and_begins_others,
                ownership::a_batch_asks_for_each_but_once,
                ownership::a_redacted_password_is_any,
                ownership::a_number_given_anew_keeps_the_owner,
                ownership::an_import_keeps_the_owner,
                ownership::a_manifest_takes_what_nobody_owns,
                ownership::a_redacted_password_is_restored,
                ownership::a_manifest_is_applied_by_one_at_a_time,
                together::batches_with_the_same_make_one_of_each,
                together::two_manifests_share_what_nobody_owns,
                together::of_two_owners_in_a_batch_the_first_gets_it,
                replacing::a_hook_is_replaced_once,
                replacing::what_a_hook_replaces_elsewhere_is_related,
                restoring::what_is_brought_in_is_there_once,
                restoring::what_is_newer_wins,
                restoring::a_whole_url_is_not_replaced_by_a_redacted_one,
                restoring::who_is_at_work_is_left_alone,
                restoring::what_was_in_doubt_becomes_the_hook,
                restoring::what_is_older_is_not_what_was_in_doubt,
                restoring::two_requests_in_doubt_are_two,
                restoring::several_rows_of_one_hook_stay_apart,
                restoring::a_number_is_of_one_living_hook,
            }
        }
    )*};
}

stories! { sqlite: super::SqliteFixture, postgres: super::PostgresFixture, pooled: super::PooledFixture }

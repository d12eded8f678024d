//! PgBouncer in between, which says what is wrong in its own way.

use super::{assert_trouble, version};
use crate::support::postgres::{PgBouncer, Server, ServerSettings, server};

#[test]
fn a_server_is_reached_through_a_pooler() {
    let Some(server) = server() else { return };
    let Some(bouncer) = PgBouncer::start(server) else { return };
    let database = server.new_database();
    assert!(version(&bouncer.url(&database), &[]).unwrap().starts_with(char::is_numeric));
    let stranger = bouncer.url(&database).replace("postgres@", "stranger@");
    assert_trouble(&stranger, "authentication failed", "PgBouncer must know the user", false);
    let nowhere = bouncer.url("nowhere");
    let error = version(&nowhere, &[]).unwrap_err();
    assert!(error.to_string().contains("does not exist") && !error.retryable(), "{error}: {:?}", error.hints());
}

#[test]
fn a_pooler_that_is_full_or_without_a_server_may_recover() {
    let Some(server) = Server::start(ServerSettings::default()) else { return };
    let Some(full) = PgBouncer::with(&server, &["max_client_conn = 0"]) else { return };
    assert_trouble(&full.url("postgres"), "no more connections allowed", "max_client_conn", true);
    let Some(bouncer) = PgBouncer::with(&server, &["query_wait_timeout = 2"]) else { return };
    server.stop();
    assert_trouble(&bouncer.url("postgres"), "SQLSTATE 08P01", "PgBouncer", true);
}

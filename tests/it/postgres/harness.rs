//! The servers that the other tests are run on.

use std::net::TcpStream;

use crate::support::postgres::{PgBouncer, Server, ServerSettings, server};

#[test]
fn the_harness_gives_each_test_a_database() {
    let Some(server) = server() else { return };
    let database = server.new_database();
    server.psql(&database, "CREATE TABLE things (id int); INSERT INTO things VALUES (1), (2)");
    assert_eq!(server.psql(&database, "SELECT count(*), 'x' FROM things"), "2|x");
    assert!(TcpStream::connect(("127.0.0.1", server.port())).is_ok());
    assert!(server.url(&database).ends_with(&database));
}

#[test]
fn the_harness_stops_kills_and_pauses_servers_and_leaves_nothing() {
    let settings = ServerSettings { certified: Some("DNS:localhost"), ..ServerSettings::default() };
    let Some(server) = Server::start(settings) else { return };
    assert_eq!(server.psql("postgres", "SHOW ssl"), "on");
    server.stop();
    assert!(TcpStream::connect(("127.0.0.1", server.port())).is_err());
    server.resurrect();
    server.kill();
    server.resurrect();
    server.pause();
    server.resume();
    assert_eq!(server.psql("postgres", "SELECT 1"), "1");
    assert!(server.authority().is_file() && server.log().contains("ready to accept"));
    server.pause();
    let dir = server.socket_dir().to_owned();
    if let Some(bouncer) = PgBouncer::start(&server) {
        assert!(bouncer.url("x").contains("127.0.0.1"));
        assert!(bouncer.log().contains("process up"));
    }
    drop(server);
    assert!(!dir.exists());
}

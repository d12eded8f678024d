//! What goes wrong with a server, as real ones say it.

use std::net::TcpListener;
use std::time::Instant;

use bugfender_hooks::error::Error;
use bugfender_hooks::store::postgres::PostgresStore;
use bugfender_hooks::store::{Store, StoreError, StoreErrorKind};
use serde_json::json;

use super::{assert_trouble, trouble, version};
use crate::support::postgres::{Server, ServerSettings, connect_options, server};
use crate::support::{Home, wait_until};

#[test]
fn a_server_is_reached_by_port_and_by_socket() {
    let Some(server) = server() else { return };
    let database = server.new_database();
    let (port, dir) = (server.port(), server.socket_dir().display());
    for url in [
        server.url(&database),
        format!("postgres://postgres@localhost:{port}/{database}"),
        format!("postgresql:///{database}?user=postgres&host={dir}&port={port}&schema=mine"),
        format!("postgres://postgres@{}:{port}/{database}", dir.to_string().replace('/', "%2F")),
        // The first is not there.
        format!("postgres://postgres@127.0.0.1:1,127.0.0.1:{port}/{database}"),
    ] {
        assert!(version(&url, &[]).unwrap().starts_with(char::is_numeric), "{url}");
    }
    let variables = [("PGHOST", "127.0.0.1"), ("PGPORT", &*port.to_string()), ("PGUSER", "postgres")];
    assert!(version(&format!("postgres:///{database}"), &variables).is_ok());
    assert_eq!(server.psql(&database, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'job-1'"), "0");
}

#[test]
fn the_server_says_no() {
    let Some(server) = server() else { return };
    let database = server.new_database();
    let (kept, limited) = (format!("kept_{database}"), format!("limited_{database}"));
    server.psql(&database, &format!("CREATE ROLE {kept} LOGIN; REVOKE CONNECT ON DATABASE {database} FROM PUBLIC"));
    server.psql(&database, &format!("CREATE ROLE {limited} LOGIN CONNECTION LIMIT 0"));
    assert_trouble(&server.url("nowhere"), "SQLSTATE 3D000", "createdb", false);
    assert_trouble(&server.url_of("nobody", &database), "SQLSTATE 28000", "pg_hba.conf", false);
    assert_trouble(&server.url_of(&kept, &database), "SQLSTATE 42501", "CONNECT", false);
    assert_trouble(&server.url_of(&limited, "postgres"), "SQLSTATE 53300", "max_connections", true);
    let (message, ..) = trouble(&server.url("nowhere"), &[]);
    let place = format!("postgres://postgres@127.0.0.1:{}/nowhere", server.port());
    assert!(message.starts_with(&format!("the registry {place}: ")), "{message}");
}

#[test]
fn nobody_is_there() {
    assert_trouble("postgres://ci@127.0.0.1:1/x", "no connection to 127.0.0.1, port 1", "is up and listens", true);
    assert_trouble("postgres://ci@%2Fnonexistent/x", "no connection to /nonexistent", "is up and listens", true);
    let url = "postgres://ci@no-such-host.invalid/x?sslmode=disable";
    assert_trouble(url, "the host no-such-host.invalid could not be found", "check the host", true);
}

#[test]
fn somebody_else_is_there() {
    // It takes what comes, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://ci@{}/x?connect_timeout=1", silent.local_addr().unwrap());
    let start = Instant::now();
    assert_trouble(&url, "did not answer in time", "firewall", true);
    assert!(start.elapsed().as_secs() < 15);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://ci@{}/x", listener.local_addr().unwrap());
    // Ends with the test's process: it holds nothing that needs an orderly end.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let (message, _, may_pass) = trouble(&url, &[]);
    assert!(may_pass, "{message}");
}

#[test]
fn a_server_stops_pauses_and_starts() {
    let Some(server) = Server::start(ServerSettings::default()) else { return };
    let url = server.url("postgres");
    server.pause();
    assert_trouble(&format!("{url}?connect_timeout=1"), "did not answer in time", "firewall", true);
    server.resume();
    assert!(version(&url, &[]).is_ok());
    server.kill();
    assert_trouble(&url, "no connection to", "is up and listens", true);
    server.resurrect();
    server.stop();
    // A standby that is not open for reading, which is what a server that recovers says too.
    server.restart_as_standby();
    assert_trouble(&url, "SQLSTATE 57P03", "wait until", true);
}

#[test]
fn of_several_servers_one_must_allow_writes() {
    let read_only = ServerSettings { lines: &["default_transaction_read_only = on"], ..ServerSettings::default() };
    let (Some(standby), Some(primary)) = (Server::start(read_only), server()) else { return };
    let both = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres", standby.port(), primary.port());
    assert!(version(&both, &[]).is_ok());
    let url = standby.url("postgres");
    assert!(version(&url, &[]).is_ok());
    assert_trouble(&format!("{url}?target_session_attrs=read-write"), "allows no writes", "primary", true);
    assert!(format!("{:?}", connect_options(&both, &[])).contains(&primary.port().to_string()));
}

#[test]
fn ways_to_sign_in_are_known_or_named() {
    let rules = [
        "host all rejected 127.0.0.1/32 reject",
        "host all kerberos 127.0.0.1/32 gss",
        "hostssl all all 127.0.0.1/32 trust",
    ];
    let Some(server) = Server::start(ServerSettings { rules: &rules, ..ServerSettings::default() }) else { return };
    assert_trouble(&server.url_of("rejected", "postgres"), "SQLSTATE 28000", "pg_hba.conf", false);
    assert_trouble(&server.url_of("postgres", "postgres"), "SQLSTATE 28000", "sslmode=verify-full", false);
    let (message, advice, _) = trouble(&server.url_of("kerberos", "postgres"), &[("PGPASSWORD", "hunter2")]);
    assert!(message.contains("unsupported authentication method") && advice.contains("scram-sha-256"), "{message}");
}

#[test]
fn a_role_may_do_too_little() {
    let Some(server) = server() else { return };
    let database = server.new_database();
    let (other, reader) = (format!("other_{database}"), format!("reader_{database}"));
    server.psql(&database, &format!("CREATE ROLE {other} LOGIN; CREATE ROLE {reader} LOGIN SUPERUSER"));
    server.psql(&database, &format!("ALTER ROLE {reader} SET default_transaction_read_only = on"));
    let store = |role: &str| PostgresStore::new(connect_options(&server.url_of(role, &database), &[]).unwrap());
    let error = |error: StoreError| {
        let kind = error.kind();
        let error = Error::from(error);
        (kind, format!("{error}: {}", error.hints().join(" ")))
    };
    let (kind, said) = error(store(&other).registry().err().unwrap());
    assert!(kind == StoreErrorKind::ReadOnly && said.contains("permission denied for database"), "{said}");
    assert!(said.contains("CREATE on it"), "{said}");
    let (kind, said) = error(store(&reader).registry().err().unwrap());
    assert!(
        kind == StoreErrorKind::ReadOnly && said.contains("25006") && said.contains("default_transaction"),
        "{said}"
    );
    drop(store("postgres").registry().unwrap());
    let (kind, said) = error(store(&other).existing_registry(None).err().unwrap());
    assert!(kind == StoreErrorKind::ReadOnly && said.contains("42501") && said.contains("USAGE on it"), "{said}");
}

#[test]
fn a_server_that_goes_away_is_met_again() {
    let Some(server) = Server::start(ServerSettings::default()) else { return };
    let store = PostgresStore::new(connect_options(&server.url("postgres"), &[]).unwrap());
    let registry = store.registry().unwrap();
    registry.check().unwrap();
    server.stop();
    let error = registry.check().unwrap_err();
    assert!(error.retryable() && error.kind() == StoreErrorKind::Unavailable, "{error}");
    server.resurrect();
    wait_until("the registry is there again", || registry.check().is_ok());
    server.kill();
    assert!(registry.check().unwrap_err().retryable());
    server.resurrect();
    wait_until("the registry is there again", || registry.check().is_ok());
}

#[test]
fn programs_are_told_that_they_may_try_again() {
    let home = Home::new();
    let list = |url: &str| home.run(["list", "--output", "json", "--store", url]);
    let run = list("postgres://ci@127.0.0.1:1/x");
    assert_eq!((run.code, &run.error()["retryable"]), (9, &json!(true)), "{run}");
    let Some(server) = server() else { return };
    let run = list(&server.url("nowhere"));
    assert_eq!((run.code, &run.error()["retryable"]), (9, &json!(false)), "{run}");
}

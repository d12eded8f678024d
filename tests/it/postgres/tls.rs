//! TLS to a real server: who is trusted, and who is not.

use super::{assert_trouble, trouble, version};
use crate::support::postgres::{Server, ServerSettings, server};

#[test]
fn a_server_must_prove_its_name_to_an_authority() {
    let rules = ["hostssl all all 127.0.0.1/32 scram-sha-256"];
    let settings = ServerSettings { certified: Some("DNS:localhost"), rules: &rules, ..ServerSettings::default() };
    let Some(server) = Server::start(settings) else { return };
    server.psql("postgres", "CREATE ROLE ci LOGIN PASSWORD 'hunter2'");
    let (port, authority) = (server.port(), server.authority().display().to_string());
    let url = |host: &str, parameters: &str| format!("postgres://ci@{host}:{port}/postgres?{parameters}");
    let try_out = |url: String| version(&url, &[("PGPASSWORD", "hunter2")]);

    let own = format!("sslrootcert={authority}");
    assert!(try_out(url("localhost", &format!("sslmode=verify-full&{own}"))).is_ok());
    let variables = [("PGPASSWORD", "hunter2"), ("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", &*authority)];
    assert!(version(&url("localhost", ""), &variables).is_ok());
    // The authority is not known, or the name is another one.
    let unknown = url("localhost", "sslmode=verify-full&sslrootcert=system");
    assert_trouble(&unknown, "no TLS connection", "sslrootcert=FILE", false);
    let other_name = url("127.0.0.1", &format!("sslmode=verify-full&{own}"));
    assert_trouble(&other_name, "no TLS connection", "subjectAltName", false);
    // That may be allowed.
    assert!(try_out(url("127.0.0.1", &format!("sslmode=verify-ca&{own}"))).is_ok());
    assert!(try_out(url("127.0.0.1", "sslmode=require&allow_unverified=1")).is_ok());
    let Some(elsewhere) = Server::start(settings) else { return };
    let other_authority = format!("sslmode=verify-ca&sslrootcert={}", elsewhere.authority().display());
    assert_trouble(&url("localhost", &other_authority), "no TLS connection", "sslrootcert=FILE", false);
    // This machine is reached without TLS if nothing is said, which the rules of this server do not allow.
    let (message, advice, _) = trouble(&url("localhost", ""), &[("PGPASSWORD", "hunter2")]);
    assert!(message.contains("28000") && advice.contains("sslmode=verify-full"), "{message}");
    let missing = version(&url("localhost", "sslmode=verify-full&sslrootcert=/nonexistent.pem"), &[]).unwrap_err();
    assert!(missing.to_string().contains("/nonexistent.pem"), "{missing}");
}

#[test]
fn a_server_without_tls_is_not_reached_with_it() {
    let Some(server) = server() else { return };
    let url = format!("{}?sslmode=verify-full", server.url("postgres"));
    assert_trouble(&url, "does not offer TLS", "ssl = on", false);
    assert!(version(&format!("{}?sslmode=disable", server.url("postgres")), &[]).is_ok());
}

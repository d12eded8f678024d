//! Tests of what is connected to.

use super::*;
use crate::store::postgres::tls::Protection;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    // No password file of the person who runs the tests.
    let pairs = [&[("PGPASSFILE", "/dev/null")], pairs].concat();
    Environment::from_lookup(|name| pairs.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
}

fn options(url: &str, variables: &[(&str, &str)]) -> Result<ConnectOptions> {
    let url = PostgresUrl::parse(url)?;
    let load = |_: &Authorities| Ok(rustls::RootCertStore::empty());
    ConnectOptions::parse(&url, &environment(variables), Duration::from_secs(30), load)
}

fn shown_of(url: &str, variables: &[(&str, &str)]) -> String {
    options(url, variables).unwrap().shown().to_owned()
}

fn error_of(url: &str, variables: &[(&str, &str)]) -> String {
    options(url, variables).unwrap_err().to_string()
}

#[test]
fn the_url_comes_before_the_environment_and_what_neither_says_has_a_default() {
    let all = [("PGHOST", "env"), ("PGPORT", "1"), ("PGUSER", "me"), ("PGDATABASE", "stock")];
    assert_eq!(shown_of("postgres://", &all), "postgres://me@env:1/stock");
    assert_eq!(shown_of("postgres://ci@db:5432/hooks?schema=s%20t", &all), "postgres://ci@db/hooks?schema=s%20t");
    assert_eq!(shown_of("postgres://ci@db", &[]), "postgres://ci@db/ci");
    assert_eq!(shown_of("postgres://ci@[::1]:6/x", &[]), "postgres://ci@[::1]:6/x");
    assert_eq!(shown_of("postgres://a%40b@%2Frun%2Fpg/x", &[]), "postgres://a%40b@/x?host=/run/pg");
    let several = "postgres://ci@a,b:5433,c/hooks";
    assert_eq!(shown_of(several, &[]), several);
    assert_eq!(options(several, &[]).unwrap().attributes, TargetSessionAttrs::ReadWrite);
    assert_eq!(
        options("postgres://ci@a/x", &[("PGCONNECT_TIMEOUT", "3")]).unwrap().connect_timeout.unwrap().as_secs(),
        3
    );
    let named = options("postgres://ci@a/x?application_name=job", &[("PGAPPNAME", "other")]).unwrap();
    assert_eq!((named.application_name.as_str(), named.schema_prefix().as_str()), ("job", "\"bugfender_hooks\"."));
    assert_eq!(options("postgres://ci@a/x?schema=a%22b", &[]).unwrap().schema_prefix(), "\"a\"\"b\".");
}

#[test]
fn what_is_not_valid_is_named_and_not_repeated() {
    let long = format!("postgres://ci@db/x?schema={}", "s".repeat(64));
    for (url, variables, says) in [
        ("postgres://db/x", &[][..], "names no user"),
        ("postgres://ci@db/x", &[("PGPORT", "x")], "PGPORT must be a number"),
        ("postgres://ci@db:0/x", &[], "`port` in the URL of the store must be a number"),
        ("postgres://ci@db/x?port=1,2", &[], "must be one port, or one for each host"),
        ("postgres://ci@db,/x", &[], "has an empty name"),
        ("postgres://ci@db/x?connect_timeout=soon", &[], "`connect_timeout` in the URL of the store must be a number"),
        ("postgres://ci@db/x?target_session_attrs=standby", &[], "must be read-write or any"),
        ("postgres://ci@db/x?schema=pg_x", &[], "keeps for itself"),
        (&long, &[], "longer than 63 bytes"),
        ("postgres://db/x", &[("PGUSER", "a\u{1b}b")], "PGUSER contains an invisible character"),
        ("postgres://ci@db/x?passfile=/nonexistent", &[], "/nonexistent: "),
        ("postgres://ci@db/x", &[("PGSSLMODE", "prefer")], "PGSSLMODE is prefer"),
        ("postgres://ci@db/x?sslmode=require", &[], "any server would do"),
        ("postgres://ci@db/x?sslmode=verify-ca", &[], "public authority"),
        ("postgres://ci@db/x?sslmode=verify-ca&sslrootcert=system", &[], "public authority"),
        ("postgres://ci@db/x?sslmode=on", &[], "must be verify-full"),
        ("postgres://ci@db/x?sslmode=require&allow_unverified=yes", &[], "must be 1 or 0"),
    ] {
        let error = error_of(url, variables);
        assert!(error.contains(says), "{url}: {error}");
    }
}

/// `tls`, `plain`, or `local` for plain and to this machine only.
fn protections(url: &str, variables: &[(&str, &str)]) -> Vec<&'static str> {
    let protection = |server: &PostgresServer| match server.protection {
        Protection::Tls(_) => "tls",
        Protection::Plain { local_only: true } => "local",
        Protection::Plain { local_only: false } => "plain",
    };
    options(url, variables).unwrap().servers.iter().map(protection).collect()
}

#[test]
fn connections_to_other_machines_are_encrypted() {
    let hosts = "postgres://ci@db.example,localhost,127.0.0.2,[::1],x.localhost,%2Frun,10.0.0.1/x";
    assert_eq!(protections(hosts, &[]), ["tls", "local", "local", "local", "local", "local", "tls"]);
    let verified = ["tls", "tls", "tls", "tls", "tls", "plain", "tls"];
    assert_eq!(protections(&format!("{hosts}?sslmode=verify-full"), &[]), verified);
    assert_eq!(protections(hosts, &[("PGSSLMODE", "disable")]), ["plain"; 7]);
    assert_eq!(protections("postgres://ci@db/x?sslmode=require&allow_unverified=1", &[]), ["tls"]);
}

#[test]
fn the_password_comes_from_the_url_the_environment_or_a_file_and_is_not_shown() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "db:5432:x:ci:of-file\nother:*:*:*:of-other\n").unwrap();
    let path = file.path().to_str().unwrap();
    let password = |url: &str, variables: &[(&str, &str)]| {
        let options = options(url, variables).unwrap();
        assert!(!format!("{options:?} {}", options.shown()).contains("of-"));
        options
            .servers
            .iter()
            .map(|server| server.password.as_ref().map(|found| found.expose().to_owned()))
            .collect::<Vec<_>>()
    };
    let of = |text: &str| Some(text.to_owned());
    let both = [("PGPASSWORD", "of-environment"), ("PGPASSFILE", path)];
    assert_eq!(password("postgres://ci:of-url@db/x", &both), [of("of-url")]);
    assert_eq!(password("postgres://ci@db/x", &both), [of("of-environment")]);
    assert_eq!(password("postgres://ci@db,other,third/x", &both[1..]), [of("of-file"), of("of-other"), None]);
    assert_eq!(password(&format!("postgres://ci@db/x?passfile={path}"), &[]), [of("of-file")]);
    assert_eq!(password("postgres://ci@db/y", &both[1..]), [None]);
}

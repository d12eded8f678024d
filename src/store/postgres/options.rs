//! Where the server is, and how to connect to it: from the URL, the environment, and defaults.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::RootCertStore;
use tokio_postgres::config::TargetSessionAttrs;

use super::given::{Given, GivenText};
use super::password::Passwords;
use super::server::PostgresServer;
use super::tls::TlsPolicy;
use crate::config::{Environment, PostgresUrl, environment};
use crate::error::{Error, Result};

pub use super::tls::Authorities;

/// The schema that holds the tables if none is named.
pub const DEFAULT_SCHEMA: &str = "bugfender_hooks";

/// The longest name of anything in PostgreSQL, in bytes.
const LONGEST_NAME: usize = 63;

const DEFAULT_PORT: u16 = 5432;

/// Where Debian, Fedora and others have the server's socket.
const SOCKET_DIR: &str = "/var/run/postgresql";

/// How to connect to a server. `Debug` does not show the password.
#[derive(Clone)]
pub struct ConnectOptions {
    /// The servers to try, in this order.
    pub(super) servers: Vec<PostgresServer>,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) application_name: String,
    pub(super) attributes: TargetSessionAttrs,
    pub(super) connect_timeout: Option<Duration>,
    schema: String,
    shown: String,
    timeout: Duration,
}

impl ConnectOptions {
    /// The options that URL and environment give; the URL comes first. `load` reads certificate authorities, if TLS needs
    /// them. A connection, and an answer, may take as long as the timeout.
    ///
    /// # Errors
    /// A usage error that names the parameter or the variable with a value that is not valid.
    pub fn parse(
        url: &PostgresUrl,
        environment: &Environment,
        timeout: Duration,
        load: impl FnOnce(&Authorities) -> Result<RootCertStore>,
    ) -> Result<Self> {
        let given = Given { url, environment };
        let user = given.text("user", environment::PGUSER)?;
        let user = user.map(|user| user.value.to_owned()).ok_or_else(|| {
            Error::usage("the URL of the store names no user").hint("use postgres://USER@HOST/DATABASE, or set PGUSER")
        })?;
        let database = given.text("dbname", environment::PGDATABASE)?.map_or(&*user, |database| database.value);
        let schema = schema(&given)?;
        let hosts = hosts(&given)?;
        let passwords = Passwords::of(&given)?;
        let tls = TlsPolicy::of(&given)?.load(hosts.iter().map(|(host, _)| &**host), load)?;
        let server = |(host, port): &(String, u16)| PostgresServer {
            password: passwords.find(host, *port, database, &user),
            protection: tls.protection(host),
            host: host.clone(),
            port: *port,
        };
        Ok(Self {
            servers: hosts.iter().map(server).collect(),
            shown: shown(&hosts, &user, database, &schema),
            attributes: attributes(&given, hosts.len())?,
            application_name: given
                .text("application_name", environment::PGAPPNAME)?
                .map_or("bugfender-hooks", |name| name.value)
                .to_owned(),
            connect_timeout: connect_timeout(&given)?,
            database: database.to_owned(),
            user,
            schema,
            timeout,
        })
    }

    /// The schema that holds the tables.
    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// What stands before the name of a table.
    pub(super) fn schema_prefix(&self) -> String {
        format!("\"{}\".", self.schema.replace('"', "\"\""))
    }

    /// Where the store is, for people. Without a password.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// How long a connection, or an answer, may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The same, with this time limit.
    pub(super) fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions").field("shown", &self.shown).finish_non_exhaustive()
    }
}

/// The hosts and their ports.
fn hosts(given: &Given) -> Result<Vec<(String, u16)>> {
    let ports = given.text("port", environment::PGPORT)?;
    let mut numbers = Vec::new();
    for port in ports.into_iter().flat_map(|ports| ports.value.split(',')) {
        let number = if port.is_empty() { Ok(DEFAULT_PORT) } else { port.parse() };
        let number = number.ok().filter(|number| *number > 0);
        numbers.extend(Some(number.ok_or_else(|| wrong_of(ports, "must be a number from 1 to 65535"))?));
    }
    let first = numbers.first().copied().unwrap_or(DEFAULT_PORT);
    let Some(text) = given.text("host", environment::PGHOST)? else {
        let socket = Path::new(SOCKET_DIR).join(format!(".s.PGSQL.{first}")).exists();
        return Ok(vec![(if socket { SOCKET_DIR } else { "localhost" }.to_owned(), first)]);
    };
    let hosts: Vec<&str> = text.value.split(',').collect();
    if hosts.iter().any(|host| host.is_empty()) {
        return Err(text.wrong("has an empty name in it"));
    }
    if numbers.len() > 1 && numbers.len() != hosts.len() {
        return Err(wrong_of(ports, "must be one port, or one for each host"));
    }
    let port = |index: usize| numbers.get(index).copied().unwrap_or(first);
    Ok(hosts.into_iter().enumerate().map(|(index, host)| (host.to_owned(), port(index))).collect())
}

fn wrong_of(text: Option<GivenText>, what: &str) -> Error {
    text.map_or_else(|| Error::usage(what), |text| text.wrong(what))
}

fn schema(given: &Given) -> Result<String> {
    let Some(text) = given.parameter("schema") else { return Ok(DEFAULT_SCHEMA.to_owned()) };
    if text.value.len() > LONGEST_NAME {
        return Err(text.wrong(&format!("is longer than {LONGEST_NAME} bytes")));
    }
    if text.value.starts_with("pg_") || text.value == "information_schema" {
        return Err(text.wrong("is a name that PostgreSQL keeps for itself"));
    }
    // In statements it stands for the schema.
    if text.value.contains('@') {
        return Err(text.wrong("has an @ in it"));
    }
    Ok(text.value.to_owned())
}

/// Of several servers, one that can be written to: the others follow it.
fn attributes(given: &Given, hosts: usize) -> Result<TargetSessionAttrs> {
    match given.parameter("target_session_attrs") {
        None if hosts > 1 => Ok(TargetSessionAttrs::ReadWrite),
        None => Ok(TargetSessionAttrs::Any),
        Some(text) => match text.value {
            "any" => Ok(TargetSessionAttrs::Any),
            "read-write" | "primary" => Ok(TargetSessionAttrs::ReadWrite),
            _ => Err(text.wrong("must be read-write or any: the store is written to")),
        },
    }
}

fn connect_timeout(given: &Given) -> Result<Option<Duration>> {
    let Some(text) = given.text("connect_timeout", environment::PGCONNECT_TIMEOUT)? else { return Ok(None) };
    let seconds: u64 = text.value.trim().parse().map_err(|_| text.wrong("must be a number of seconds"))?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
}

/// What needs no percent sign in a URL that is read by people.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The URL of what is connected to, in one form whoever gave its parts.
fn shown(hosts: &[(String, u16)], user: &str, database: &str, schema: &str) -> String {
    let (user, database) = (utf8_percent_encode(user, KEPT), utf8_percent_encode(database, KEPT));
    let port = |port: &u16| if *port == DEFAULT_PORT { String::new() } else { format!(":{port}") };
    let host = |(host, number): &(String, u16)| {
        let host = match host {
            address if address.contains(':') => format!("[{address}]"),
            dir if dir.starts_with('/') => utf8_percent_encode(dir, KEPT).to_string(),
            name => name.clone(),
        };
        host + &port(number)
    };
    let mut url = match hosts {
        [(dir, number)] if dir.starts_with('/') => format!("postgres://{user}@{}/{database}?host={dir}", port(number)),
        _ => format!("postgres://{user}@{}/{database}", hosts.iter().map(host).collect::<Vec<_>>().join(",")),
    };
    if schema != DEFAULT_SCHEMA {
        url.push(if url.contains('?') { '&' } else { '?' });
        url += "schema=";
        url.extend(utf8_percent_encode(schema, KEPT));
    }
    url
}

#[cfg(test)]
mod tests;

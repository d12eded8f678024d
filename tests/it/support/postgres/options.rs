//! How the tests connect.

use std::time::Duration;

use bugfender_hooks::config::{Environment, PostgresUrl};
use bugfender_hooks::error::Result;
use bugfender_hooks::http::Roots;
use bugfender_hooks::store::Store;
use bugfender_hooks::store::postgres::{Authorities, ConnectOptions, PostgresStore};
use bugfender_hooks::store::sqlite::SqliteStore;

use super::Server;
use crate::support::Home;

/// How to connect to a URL, in an environment of these variables alone.
pub fn connect_options(url: &str, variables: &[(&str, &str)]) -> Result<ConnectOptions> {
    let no_file = ("PGPASSFILE", "/dev/null");
    let variables = [&[no_file], variables].concat();
    let value = |name: &str| variables.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| value.into());
    let load = |authorities: &Authorities| match authorities {
        Authorities::File(path) => Roots::File(path.clone()).load(),
        _ => Roots::System.load(),
    };
    ConnectOptions::parse(&PostgresUrl::parse(url)?, &Environment::from_lookup(value), Duration::from_secs(30), load)
}

/// The store of a home: in this database, or in the files of the home.
pub fn store_of(home: &Home, database: Option<&(&Server, String)>) -> Box<dyn Store> {
    match database {
        None => Box::new(SqliteStore::at(&home.registry())),
        Some((server, database)) => Box::new(PostgresStore::new(connect_options(&server.url(database), &[]).unwrap())),
    }
}

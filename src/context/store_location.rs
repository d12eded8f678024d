//! Where the store is, and how it is opened.

use std::path::PathBuf;

#[cfg(feature = "postgres")]
use super::roots_of;
use crate::config::{Environment, Settings, StoreUrl, actor_name};
#[cfg(not(feature = "postgres"))]
use crate::error::Error;
use crate::error::Result;
#[cfg(feature = "postgres")]
use crate::http::Roots;
use crate::platform;
#[cfg(feature = "postgres")]
use crate::store::postgres::{Authorities, ConnectOptions, PostgresStore};
use crate::store::sqlite::SqliteStore;
use crate::store::{Actor, Store};

/// The store of these settings.
///
/// # Errors
/// A store error when there is no home directory and no setting; a usage error for a store that cannot be used.
pub fn store_of(settings: &Settings, environment: &Environment) -> Result<Box<dyn Store>> {
    Ok(StoreLocation::of(settings, environment)?.open())
}

/// Where the store is, with all that is needed to open it, and who changes it.
pub(super) struct StoreLocation {
    place: StorePlace,
    actor: Actor,
}

enum StorePlace {
    /// The file of the registry.
    File(PathBuf),
    /// A PostgreSQL database.
    #[cfg(feature = "postgres")]
    Server(ConnectOptions),
}

impl StoreLocation {
    pub(super) fn of(settings: &Settings, environment: &Environment) -> Result<Self> {
        Self::at(settings.store_url()?, settings, environment)
    }

    /// Another one than that of the settings.
    pub(super) fn at(url: StoreUrl, settings: &Settings, environment: &Environment) -> Result<Self> {
        let actor = Actor::new(actor_name(environment, platform::host_name().as_deref()));
        Ok(Self { place: StorePlace::of(url, settings, environment)?, actor })
    }

    pub(super) fn open(&self) -> Box<dyn Store> {
        let actor = self.actor.clone();
        match &self.place {
            StorePlace::File(path) => Box::new(SqliteStore::at(path).by(actor)),
            #[cfg(feature = "postgres")]
            StorePlace::Server(options) => Box::new(PostgresStore::new(options.clone()).by(actor)),
        }
    }
}

impl StorePlace {
    fn of(url: StoreUrl, settings: &Settings, environment: &Environment) -> Result<Self> {
        match url {
            StoreUrl::Sqlite(path) => Ok(Self::File(path)),
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres(url) => {
                let load = |authorities: &Authorities| match authorities {
                    Authorities::OfTool => roots_of(settings, environment).load(),
                    Authorities::OfSystem => Roots::System.load(),
                    Authorities::File(path) => Roots::File(path.clone()).load(),
                };
                ConnectOptions::parse(&url, environment, settings.timeout.value, load).map(Self::Server)
            }
            #[cfg(not(feature = "postgres"))]
            StoreUrl::Postgres(_) => {
                let _ = (settings, environment);
                Err(Error::usage("this build of bugfender-hooks cannot use PostgreSQL as its store")
                    .hint("use one built with the feature postgres, or --store sqlite:PATH"))
            }
        }
    }
}

//! The store in a PostgreSQL database, for teams: any number of commands, CI jobs and receivers work on it at once.
//!
//! | module | what it does |
//! |---|---|
//! | `options`, `given`, `password`, `tls` | where the server is, from URL and environment; signing in, and as whom it must prove itself |
//! | `connect`, `server`, `session` | making a connection, and its renewal |
//! | `fault`, `diagnosis` | what goes wrong with it, and what to do about that |
//! | `migrations` | the schema |
//! | `inbox`, `registry`, `keys` | the parts of the store |
//! | `copy` | all of it, for copies |
//!
//! Nothing here needs a session of the server's: no statement is named, no setting or lock outlives its transaction. So
//! PgBouncer may stand in between and give each transaction another connection.

mod connect;
mod copy;
mod diagnosis;
mod fault;
mod given;
mod inbox;
mod keys;
mod migrations;
mod options;
mod password;
mod probe;
mod registry;
mod server;
mod session;
mod tls;

use std::path::Path;
use std::time::Duration;

use self::copy::PostgresCopy;
use self::fault::PostgresFault;
use self::inbox::PostgresInbox;
use self::keys::PostgresKeys;
pub use self::options::{Authorities, ConnectOptions};
use self::registry::PostgresRegistry;
use self::session::{Link, ServerSession, values};
use super::error::Part;
use super::{
    Actor, Inbox, Intake, PartInfo, ReceiverInbox, ReceiverKeys, Registry, SchemaState, Store, StoreError,
    StoreErrorKind, StoreExport, StoreImport, StoreInfo,
};

/// How long a receiver waits for the server: senders wait as long for their answers.
const RECEIVER_TIMEOUT: Duration = Duration::from_secs(5);

/// How many connections of a receiver store deliveries: while one group waits for its commit, the next is sent.
const INTAKES: usize = 2;

/// The store in a schema of a database.
#[derive(Clone)]
pub struct PostgresStore {
    options: ConnectOptions,
    actor: Actor,
}

impl PostgresStore {
    /// The store that these options lead to. Nothing is connected yet.
    pub fn new(options: ConnectOptions) -> Self {
        Self { options, actor: Actor::default() }
    }

    /// The same store, changed on behalf of this actor.
    #[must_use]
    pub fn by(self, actor: Actor) -> Self {
        Self { actor, ..self }
    }

    /// A session whose schema is there and up to date.
    fn prepared(&self, part: Part) -> Result<ServerSession, StoreError> {
        let session = ServerSession::new(self.options.clone(), part)?;
        migrations::prepare(&session).map_err(|fault| session.store_error(fault))?;
        Ok(session)
    }

    /// The same, if the schema is there.
    fn existing(&self, part: Part) -> Result<Option<ServerSession>, StoreError> {
        let session = ServerSession::new(self.options.clone(), part)?;
        if session.run(migrations::version)? == 0 {
            return Ok(None);
        }
        migrations::prepare(&session).map_err(|fault| session.store_error(fault))?;
        Ok(Some(session))
    }

    /// An inbox that waits no longer than senders do. It connects when it is used.
    fn receivers_inbox(&self) -> Result<PostgresInbox, StoreError> {
        let options = self.options.with_timeout(self.options.timeout().min(RECEIVER_TIMEOUT));
        Ok(PostgresInbox::new(ServerSession::new(options, Part::Inbox)?))
    }

    fn place(&self) -> String {
        self.options.shown().to_owned()
    }

    /// Says that something cannot be done, and what can.
    fn cannot(&self, what: &str, advice: &'static str) -> StoreError {
        StoreError::new(Part::Inbox, self.place(), StoreErrorKind::Unavailable, what, advice)
    }
}

impl Store for PostgresStore {
    fn registry_place(&self) -> String {
        self.place()
    }

    fn inbox_place(&self) -> String {
        self.place()
    }

    fn registry(&self) -> Result<Box<dyn Registry>, StoreError> {
        Ok(Box::new(PostgresRegistry::new(self.prepared(Part::Registry)?, self.actor.clone())))
    }

    fn existing_registry(&self, lock_timeout: Option<Duration>) -> Result<Option<Box<dyn Registry>>, StoreError> {
        let Some(session) = self.existing(Part::Registry)? else { return Ok(None) };
        if let Some(timeout) = lock_timeout {
            session.set_timeout(timeout);
        }
        Ok(Some(Box::new(PostgresRegistry::new(session, self.actor.clone()))))
    }

    fn check_creatable(&self) -> Result<(), StoreError> {
        let session = ServerSession::new(self.options.clone(), Part::Registry)?;
        session.run(migrations::check_creatable)
    }

    fn inbox(&self) -> Result<Box<dyn Inbox>, StoreError> {
        Ok(Box::new(PostgresInbox::new(self.prepared(Part::Inbox)?)))
    }

    fn existing_inbox(&self) -> Result<Option<Box<dyn Inbox>>, StoreError> {
        let session = self.existing(Part::Inbox)?;
        Ok(session.map(|session| Box::new(PostgresInbox::new(session)) as Box<dyn Inbox>))
    }

    fn receiver_inbox(&self) -> Result<Box<dyn ReceiverInbox>, StoreError> {
        self.prepared(Part::Inbox)?;
        Ok(Box::new(self.receivers_inbox()?))
    }

    fn intakes(&self) -> Result<Vec<Box<dyn Intake>>, StoreError> {
        let intake = || Ok(Box::new(self.receivers_inbox()?) as Box<dyn Intake>);
        std::iter::repeat_with(intake).take(INTAKES).collect()
    }

    fn watched_inbox(&self) -> Result<Box<dyn Inbox>, StoreError> {
        Ok(Box::new(self.receivers_inbox()?))
    }

    fn info(&self) -> Result<StoreInfo, StoreError> {
        let Some(session) = self.existing(Part::Inbox)? else { return Ok(StoreInfo::default()) };
        let place = self.place();
        session.run(async |link| info(link, &place).await)
    }

    fn back_up(&self, _directory: &Path) -> Result<(), StoreError> {
        let advice =
            "copy it with `pg_dump --format=custom --schema=SCHEMA DATABASE`, which does not disturb receivers";
        Err(self.cannot("a store in PostgreSQL is backed up by PostgreSQL's own tools", advice))
    }

    fn restore(&self, _directory: &Path, _replace: bool) -> Result<(), StoreError> {
        let advice = "restore it with `pg_restore --clean --if-exists --dbname=DATABASE FILE` while no receiver runs";
        Err(self.cannot("a store in PostgreSQL is restored by PostgreSQL's own tools", advice))
    }

    fn schemas(&self) -> Result<Vec<SchemaState>, StoreError> {
        let session = ServerSession::new(self.options.clone(), Part::Inbox)?;
        let (found, newest) = (session.run(migrations::version)?, migrations::known());
        let script = migrations::script(&self.options.schema_prefix(), found);
        Ok(vec![SchemaState { part: "store", place: self.place(), found, newest, script }])
    }

    fn migrate(&self) -> Result<(), StoreError> {
        self.prepared(Part::Inbox).map(drop)
    }

    fn export(&self) -> Result<Box<dyn StoreExport>, StoreError> {
        let missing = || {
            let advice = "name the store with --store, as in `bugfender-hooks store info`";
            self.cannot("there is no store to copy", advice)
        };
        Ok(Box::new(PostgresCopy::new(self.existing(Part::Inbox)?.ok_or_else(missing)?, &self.options)))
    }

    fn import(&self) -> Result<Box<dyn StoreImport>, StoreError> {
        Ok(Box::new(PostgresCopy::new(self.prepared(Part::Inbox)?, &self.options)))
    }

    fn free_reserve(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn receiver_keys(&self) -> Box<dyn ReceiverKeys> {
        Box::new(PostgresKeys::new(self.options.clone()))
    }
}

async fn info(link: &Link, place: &str) -> Result<StoreInfo, PostgresFault> {
    let version = migrations::version(link).await?;
    let count = async |table: &str| -> Result<u64, PostgresFault> {
        let count = link.number(&format!("SELECT count(*) FROM @{table}"), values![]).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    };
    let size = async |table: &str| -> Result<u64, PostgresFault> {
        let sql = "SELECT pg_total_relation_size($1::text::regclass)";
        let bytes = link.number(sql, values![link.table(table) => TEXT]).await?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    };
    let part =
        |bytes, records| PartInfo { place: place.to_owned(), bytes: Some(bytes), schema: Some(version), records };
    Ok(StoreInfo {
        registry: part(size("hooks").await?, vec![("hooks", count("hooks").await?)]),
        inbox: part(
            inbox::bytes(link).await?,
            vec![("events", count("events").await?), ("quarantined", count("quarantine").await?)],
        ),
        key: PartInfo { place: place.to_owned(), bytes: Some(size("receiver_keys").await?), ..PartInfo::default() },
    })
}

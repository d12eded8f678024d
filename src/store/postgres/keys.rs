//! The keys in Bugfender's path, which all receivers of a store share.

use jiff::Timestamp;

use super::fault::PostgresFault;
use super::options::ConnectOptions;
use super::session::{Link, ServerSession, values};
use crate::domain::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::store::error::Part;
use crate::store::keys::new_key;
use crate::store::{Keys, ReceiverKeys};

/// The keys in the store.
pub(super) struct PostgresKeys {
    options: ConnectOptions,
}

impl PostgresKeys {
    pub(super) fn new(options: ConnectOptions) -> Self {
        Self { options }
    }

    /// The session that a call works with.
    fn session(&self) -> Result<ServerSession> {
        let session = ServerSession::new(self.options.clone(), Part::Inbox)?;
        session.set_timeout(super::RECEIVER_TIMEOUT);
        super::migrations::prepare(&session).map_err(|fault| session.store_error(fault))?;
        Ok(session)
    }

    fn commit<T>(&self, work: impl AsyncFn(&Link) -> Result<T, PostgresFault>) -> Result<T> {
        Ok(self.session()?.commit(work)?)
    }

    /// The keys, if there are any.
    pub(super) fn existing(&self) -> Result<Option<Keys>> {
        self.session()?.run(read)?.keys()
    }

    /// Puts these keys in place of those that are there.
    pub(super) fn put(&self, keys: &Keys) -> Result<()> {
        self.commit(async |link| {
            link.batch("LOCK TABLE @receiver_keys IN SHARE ROW EXCLUSIVE MODE").await?;
            link.batch("DELETE FROM @receiver_keys").await?;
            for (key, until) in &keys.former {
                let sql = "INSERT INTO @receiver_keys (key, until) VALUES ($1, $2)";
                link.execute(sql, values![key.expose() => TEXT, until.as_microsecond() => INT8]).await?;
            }
            add(link, &keys.current).await
        })
    }

    fn missing(&self) -> Error {
        Error::new(ErrorKind::Store, format!("{} holds no key of a receiver", self.options.shown()))
    }
}

/// The keys as they are stored.
#[derive(Default)]
struct StoredKeys {
    current: Option<String>,
    former: Vec<(String, Timestamp)>,
}

impl StoredKeys {
    /// The keys, if there are any.
    fn keys(self) -> Result<Option<Keys>> {
        let Some(current) = self.current else { return Ok(None) };
        let key = |text: &str| Secret::parse("the key", text);
        let former = self.former.iter().map(|(text, until)| Ok((key(text)?, *until)));
        Ok(Some(Keys { current: key(&current)?, former: former.collect::<Result<_>>()? }))
    }
}

async fn read(link: &Link) -> Result<StoredKeys, PostgresFault> {
    let now = Timestamp::now();
    let sql = "SELECT key, until FROM @receiver_keys WHERE until IS NULL OR until > $1 ORDER BY id";
    let mut found = StoredKeys::default();
    for row in link.rows(sql, values![now.as_microsecond() => INT8]).await? {
        match row.try_get::<_, Option<i64>>(1)? {
            None => found.current = Some(row.try_get(0)?),
            Some(until) => {
                found.former.push((row.try_get(0)?, Timestamp::from_microsecond(until).unwrap_or_default()));
            }
        }
    }
    Ok(found)
}

/// Adds a key unless there is a current one: of several receivers that start at once, one makes it.
async fn add(link: &Link, key: &Secret) -> Result<(), PostgresFault> {
    let sql = "INSERT INTO @receiver_keys (key) VALUES ($1) ON CONFLICT DO NOTHING";
    link.execute(sql, values![key.expose() => TEXT]).await?;
    Ok(())
}

impl ReceiverKeys for PostgresKeys {
    fn load(&self) -> Result<Keys> {
        let session = self.session()?;
        if let Some(keys) = session.run(read)?.keys()? {
            return Ok(keys);
        }
        let key = new_key()?;
        session.commit(async |link| add(link, &key).await)?;
        // Another receiver may have made the first key meanwhile: its key is used.
        session.run(read)?.keys()?.ok_or_else(|| self.missing())
    }

    fn reload(&self) -> Result<Keys> {
        self.existing()?.ok_or_else(|| self.missing())
    }

    fn rotate(&self, former_until: Timestamp, now: Timestamp) -> Result<Keys> {
        let key = new_key()?;
        let found = self.commit(async |link| {
            // Whoever rotates at the same time has the key of this one for its former key.
            link.batch("LOCK TABLE @receiver_keys IN SHARE ROW EXCLUSIVE MODE").await?;
            if former_until > now {
                let sql = "UPDATE @receiver_keys SET until = $1 WHERE until IS NULL";
                link.execute(sql, values![former_until.as_microsecond() => INT8]).await?;
            } else {
                link.batch("DELETE FROM @receiver_keys").await?;
            }
            add(link, &key).await?;
            let old = "DELETE FROM @receiver_keys WHERE until <= $1";
            link.execute(old, values![now.as_microsecond() => INT8]).await?;
            read(link).await
        })?;
        found.keys()?.ok_or_else(|| self.missing())
    }

    fn are_shared(&self) -> bool {
        true
    }
}

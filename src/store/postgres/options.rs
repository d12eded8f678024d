//! Where the server is, and how to connect to it.

use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls};

use super::fault::PostgresFault;
use crate::error::{Error, Result};

/// The schema that holds the tables if none is named.
pub const DEFAULT_SCHEMA: &str = "bugfender_hooks";

/// How to connect to a server.
#[derive(Clone)]
pub struct ConnectOptions {
    config: Config,
    schema: String,
    shown: String,
    timeout: Duration,
}

impl ConnectOptions {
    /// The options in a URL.
    ///
    /// # Errors
    /// A usage error when it is not valid.
    pub fn parse(url: &str, timeout: Duration) -> Result<Self> {
        let parsed = url::Url::parse(url).map_err(|_| Error::usage("the URL of the store is not valid"))?;
        let named = parsed.query_pairs().find(|(name, _)| name == "schema").map(|(_, value)| value.into_owned());
        let mut plain = parsed.clone();
        let others: Vec<(String, String)> =
            parsed.query_pairs().into_owned().filter(|(name, _)| name != "schema").collect();
        plain.set_query(None);
        if !others.is_empty() {
            plain.query_pairs_mut().extend_pairs(others);
        }
        let config: Config = plain.as_str().parse().map_err(|_| Error::usage("the URL of the store is not valid"))?;
        Ok(Self { config, schema: named.unwrap_or_else(|| DEFAULT_SCHEMA.to_owned()), shown: url.to_owned(), timeout })
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

    /// Connects. The connection is served by a task of the runtime that this is called in.
    ///
    /// # Errors
    /// When there is no server, or it refuses.
    pub(super) async fn connect(&self) -> Result<Client, PostgresFault> {
        let connect = async {
            let (client, connection) = self.config.connect(NoTls).await?;
            tokio::spawn(async move {
                // Its end shows in the next statement.
                let _ = connection.await;
            });
            Ok(client)
        };
        tokio::time::timeout(self.timeout, connect).await.unwrap_or(Err(PostgresFault::TimedOut))
    }
}

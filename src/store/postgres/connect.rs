//! Connecting to one of the servers that may have the database.

use std::time::Duration;

use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config};

use super::fault::PostgresFault;
use super::options::ConnectOptions;
use super::server::PostgresServer;
use super::tls::{Protection, is_socket};

/// When a connection that is silent is probed, and how it is then given up: a firewall in between forgets such
/// connections, and the server may be gone without a word.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

impl ConnectOptions {
    /// Connects to the first server that lets it. The connection is served by a task of the runtime that this is called in.
    ///
    /// # Errors
    /// Why it could not be done at the last one.
    pub(super) async fn connect(&self) -> Result<Client, PostgresFault> {
        let limit = self.connect_timeout.map_or(self.timeout(), |limit| limit.min(self.timeout()));
        let share = limit / u32::try_from(self.servers.len()).unwrap_or(u32::MAX).max(1);
        let mut last = PostgresFault::TimedOut;
        for server in &self.servers {
            match tokio::time::timeout(share, self.connect_to(server, share)).await {
                Ok(Ok(client)) => return Ok(client),
                Ok(Err(fault)) => last = fault,
                Err(_) => last = PostgresFault::TimedOut,
            }
        }
        Err(last)
    }

    async fn connect_to(&self, server: &PostgresServer, limit: Duration) -> Result<Client, PostgresFault> {
        let mut config = self.config(server);
        config.host(&server.host).port(server.port);
        if is_socket(&server.host) {
            return server.open(&config).await;
        }
        let addresses = server.resolve().await?;
        config.connect_timeout(limit / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1));
        let mut last = PostgresFault::TimedOut;
        for address in addresses {
            match server.open(config.clone().hostaddr(address)).await {
                Ok(client) => return Ok(client),
                // Behind another address of the same name there may be a server that answers.
                Err(fault @ PostgresFault::Unreachable { .. }) => last = fault,
                Err(fault) => return Err(fault),
            }
        }
        Err(last)
    }

    fn config(&self, server: &PostgresServer) -> Config {
        let mut config = Config::new();
        config.user(&self.user).dbname(&self.database).application_name(&self.application_name);
        config.target_session_attrs(self.attributes).tcp_user_timeout(self.timeout());
        config.keepalives_idle(KEEPALIVE_IDLE).keepalives_interval(KEEPALIVE_INTERVAL);
        config.keepalives_retries(KEEPALIVE_PROBES);
        config.ssl_mode(match server.protection {
            Protection::Plain { .. } => SslMode::Disable,
            Protection::Tls(_) => SslMode::Require,
        });
        if let Some(password) = &server.password {
            config.password(password.expose());
        }
        config
    }
}

//! A server: its addresses, and a connection to it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls, Socket};

use super::fault::{PostgresFault, cause};
use super::tls::{Protection, WatchedTls, is_socket};
use crate::domain::Password;

/// A server that may have the database.
#[derive(Clone)]
pub(super) struct PostgresServer {
    /// A name, an address, or the directory of a socket.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) password: Option<Password>,
    pub(super) protection: Protection,
}

impl PostgresServer {
    /// Its addresses. What is checked is what is connected to, as the name is resolved once.
    pub(super) async fn resolve(&self) -> Result<Vec<IpAddr>, PostgresFault> {
        let found = tokio::net::lookup_host((&*self.host, self.port)).await;
        let not_found = |error| PostgresFault::NotResolved { host: self.host.clone(), error };
        let addresses: Vec<IpAddr> = found.map_err(not_found)?.map(|address| address.ip()).collect();
        if addresses.is_empty() {
            return Err(not_found(io::ErrorKind::NotFound.into()));
        }
        let is_local = |address: &IpAddr| address.to_canonical().is_loopback();
        match self.protection {
            Protection::Plain { local_only: true } if !addresses.iter().all(is_local) => {
                Err(PostgresFault::NotLocal(self.host.clone()))
            }
            _ => Ok(addresses),
        }
    }

    /// Connects as the configuration says.
    pub(super) async fn open(&self, config: &Config) -> Result<Client, PostgresFault> {
        let begun = Arc::new(AtomicBool::new(false));
        let opened = match &self.protection {
            Protection::Plain { .. } => open(config, NoTls).await,
            Protection::Tls(connector) => {
                open(config, WatchedTls { connector: connector.clone(), begun: Arc::clone(&begun) }).await
            }
        };
        let is_plain = matches!(self.protection, Protection::Plain { .. });
        opened.map_err(|error| self.fault(error, is_plain || begun.load(Ordering::Relaxed)))
    }

    /// What went wrong, given whether the server has agreed to TLS, if that is needed.
    fn fault(&self, error: tokio_postgres::Error, agreed: bool) -> PostgresFault {
        if error.as_db_error().is_some() {
            return PostgresFault::Rejected(error);
        }
        if let Some(error) = cause::<rustls::Error>(&error) {
            return PostgresFault::Tls(error.clone());
        }
        if let Some(io) = cause::<io::Error>(&error) {
            // What the servers with `target_session_attrs` are asked for.
            if io.kind() == io::ErrorKind::PermissionDenied && io.raw_os_error().is_none() {
                return PostgresFault::ReadOnlyServer;
            }
            let error = io::Error::new(io.kind(), io.to_string());
            let place =
                if is_socket(&self.host) { self.host.clone() } else { format!("{}, port {}", self.host, self.port) };
            return PostgresFault::Unreachable { place, error };
        }
        match std::error::Error::source(&error).map(ToString::to_string) {
            _ if !agreed => PostgresFault::NoTls,
            // The password is missing, or the way to sign in is not known.
            Some(reason) => PostgresFault::SignIn { reason, with_password: self.password.is_some() },
            None => PostgresFault::Rejected(error),
        }
    }
}

async fn open<T>(config: &Config, tls: T) -> Result<Client, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(tls).await?;
    tokio::spawn(async move {
        // Its end shows in the next statement.
        let _ = connection.await;
    });
    Ok(client)
}

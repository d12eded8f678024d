//! Trying out a connection.

use super::options::ConnectOptions;
use super::session::ServerSession;
use crate::store::StoreError;
use crate::store::error::Part;

impl ConnectOptions {
    /// Connects, and asks the server for its version, such as `15.18`. To be used outside any runtime.
    ///
    /// # Errors
    /// Why that could not be done.
    pub fn server_version(&self) -> Result<String, StoreError> {
        let session = ServerSession::new(self.clone(), Part::Registry)?;
        session.run(async |link| {
            let row = link.row("SHOW server_version", &[]).await?;
            Ok(row.map_or_else(|| Ok(String::new()), |row| row.try_get(0))?)
        })
    }
}

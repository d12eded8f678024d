//! Which certificate authorities are trusted.

use std::path::PathBuf;

use rustls::RootCertStore;

use super::tls;
use crate::error::Error;

/// Which certificate authorities are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// The system's, or Mozilla's if the system has none.
    System,
    /// Only those in `SSL_CERT_FILE` or `SSL_CERT_DIR`.
    Environment,
    /// Only those in this PEM file.
    File(PathBuf),
}

impl Roots {
    /// Checks that they can be read and that there is at least one.
    ///
    /// # Errors
    /// A usage error that names the file or the variables.
    pub fn check(&self) -> Result<(), Error> {
        self.load().map(|_| ())
    }

    /// Reads them.
    ///
    /// # Errors
    /// The same.
    pub fn load(&self) -> Result<RootCertStore, Error> {
        tls::load(self)
    }
}

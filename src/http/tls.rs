//! TLS 1.2 and 1.3 with rustls and ring, trusting the system's certificate authorities by default.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::domain::bytes_without_bom;
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
        load(self)
    }
}

/// The TLS client configuration. Without `load_roots` it trusts no server, which avoids the cost of loading them.
pub(super) fn config(load_roots: bool, roots: &Roots) -> Result<ClientConfig, Error> {
    let roots = if load_roots { load(roots)? } else { RootCertStore::empty() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::usage(format!("TLS could not be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The certificate authorities themselves.
fn load(roots: &Roots) -> Result<RootCertStore, Error> {
    match roots {
        Roots::File(path) => of_file(path),
        Roots::Environment => of_system(true),
        Roots::System => of_system(false),
    }
}

/// The certificate authorities in a PEM file, of which there must be at least one.
fn of_file(path: &Path) -> Result<RootCertStore, Error> {
    let wrong = |what: String| {
        Error::usage(format!("cannot load certificate authorities from {}: {what}", path.display())).hint(
            "set --ca-file, or ca_file in the configuration, to a PEM file with the certificate (BEGIN CERTIFICATE) \
             of the authority",
        )
    };
    let text = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bytes_without_bom(&text)) {
        let certificate = certificate.map_err(|_| wrong("not a PEM file of certificates".to_owned()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("it contains no certificate".to_owned()));
    }
    Ok(roots)
}

/// The system's certificate authorities, or Mozilla's if it has none, as in minimal containers.
///
/// With `custom`, `SSL_CERT_FILE` or `SSL_CERT_DIR` are set and must yield at least one.
fn of_system(custom: bool) -> Result<RootCertStore, Error> {
    let native = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(native.certs);
    tracing::debug!(added, ignored, "loaded the system's certificate authorities");
    if !roots.is_empty() {
        return Ok(roots);
    }
    if custom {
        let cause = native.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        let message = format!("no certificate authority in SSL_CERT_FILE or SSL_CERT_DIR{cause}");
        return Err(
            Error::usage(message).hint("set it to a PEM file of certificate authorities, unset it, or use --ca-file")
        );
    }
    tracing::info!("the system has no certificate authorities; using Mozilla's");
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    Ok(roots)
}

//! The server side of TLS, from PEM files that may be replaced while it runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::domain::bytes_without_bom;
use crate::error::{Error, Result};

/// The certificate and key to serve with.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// A PEM file with the certificate and its intermediates.
    pub certificate: PathBuf,
    /// A PEM file with its private key.
    pub key: PathBuf,
}

/// The certificate and key as they were last read.
pub(super) struct Tls {
    files: TlsFiles,
    current: ArcSwap<TlsConfig>,
}

/// The certificate and its key, and when it expires.
struct TlsConfig {
    server: Arc<ServerConfig>,
    expiry: Option<Timestamp>,
}

impl Tls {
    pub(super) fn load(files: TlsFiles) -> Result<Self> {
        let current = ArcSwap::from_pointee(config(&files)?);
        Ok(Self { files, current })
    }

    /// Reads the files again. The previous certificate stays in use if they cannot be read.
    pub(super) fn reload(&self) -> Result<()> {
        self.current.store(Arc::new(config(&self.files)?));
        Ok(())
    }

    /// The acceptor for new connections.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.load().server))
    }

    /// When the first certificate of the chain expires, if that can be read from them.
    pub(super) fn expiry(&self) -> Option<Timestamp> {
        self.current.load().expiry
    }
}

/// When the first of these expires. One that is of a form that is not known is left out: clients judge it.
fn first_expiry(chain: &[CertificateDer<'_>]) -> Option<Timestamp> {
    let expiry = |der: &CertificateDer<'_>| {
        let certificate = Certificate::from_der(der).ok()?;
        let end = certificate.tbs_certificate().validity().not_after.to_unix_duration();
        Timestamp::from_second(i64::try_from(end.as_secs()).ok()?).ok()
    };
    chain.iter().filter_map(expiry).min()
}

fn config(files: &TlsFiles) -> Result<TlsConfig> {
    let wrong = |path: &Path, what: &dyn std::fmt::Display| {
        Error::usage(format!("{}: {what}", path.display()))
            .hint("--tls-cert and --tls-key name PEM files: the certificate with its chain, and its private key")
    };
    let read = |path| fs::read(path).map_err(|error| wrong(path, &error));
    let (certificate, key) = (read(&files.certificate)?, read(&files.key)?);
    let certificates = CertificateDer::pem_slice_iter(bytes_without_bom(&certificate))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(&files.certificate, &error))?;
    if certificates.is_empty() {
        return Err(wrong(&files.certificate, &"the file contains no certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(bytes_without_bom(&key)).map_err(|error| wrong(&files.key, &error))?;
    let expiry = first_expiry(&certificates);
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::usage(format!("TLS could not be set up: {error}")))?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|error| wrong(&files.key, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConfig { server: Arc::new(config), expiry })
}

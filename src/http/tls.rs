//! TLS 1.2 and 1.3 by rustls on ring, trusting what the system trusts.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

use super::Roots;
use crate::error::Error;

/// The client side of TLS. Without `load_roots` no server is trusted, and building it costs next to nothing.
pub(super) fn config(load_roots: bool, roots: &Roots) -> Result<ClientConfig, Error> {
    let roots = match roots {
        _ if !load_roots => RootCertStore::empty(),
        Roots::File(path) => of_file(path)?,
        Roots::Environment => of_system(true)?,
        Roots::System => of_system(false)?,
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::usage(format!("TLS could not be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The certificate authorities of a PEM file, which must hold one.
fn of_file(path: &Path) -> Result<RootCertStore, Error> {
    let wrong = |what: String| {
        Error::usage(format!("the certificate authorities in {}: {what}", path.display())).hint(
            "with --ca-file or ca_file in the configuration, name a PEM file that holds the certificate \
             (BEGIN CERTIFICATE) of the authority",
        )
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| wrong(reason(&error)))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(reason(&error)))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("it holds no certificate".to_owned()));
    }
    Ok(roots)
}

/// Why a PEM file cannot be read, in words.
fn reason(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        _ => "it is not a PEM file of certificates".to_owned(),
    }
}

/// The system's certificate authorities, or Mozilla's where the system has none (bare containers).
///
/// With `custom` the environment names them, and must name at least one.
fn of_system(custom: bool) -> Result<RootCertStore, Error> {
    let native = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(native.certs);
    tracing::debug!(added, ignored, "certificate authorities of the system");
    if !roots.is_empty() {
        return Ok(roots);
    }
    if custom {
        let cause = native.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        let message = format!("SSL_CERT_FILE or SSL_CERT_DIR names no certificate authority{cause}");
        return Err(Error::usage(message).hint("set it to a PEM file of authorities, unset it, or use --ca-file"));
    }
    tracing::info!("the system has no certificate authorities; using Mozilla's");
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    Ok(roots)
}

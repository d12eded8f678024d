//! TLS 1.2 and 1.3 by rustls on ring, trusting what the system trusts.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use crate::error::Error;

/// The client side of TLS. Without `load_roots` no server is trusted, and building it costs next to nothing.
///
/// With `custom_roots` the environment names the certificate authorities and must name at least one.
pub(super) fn config(load_roots: bool, custom_roots: bool) -> Result<ClientConfig, Error> {
    let roots = if load_roots { roots(custom_roots)? } else { RootCertStore::empty() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::usage(format!("TLS could not be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The system's certificate authorities, or Mozilla's where the system has none (bare containers).
fn roots(custom: bool) -> Result<RootCertStore, Error> {
    let native = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(native.certs);
    tracing::debug!(added, ignored, "certificate authorities of the system");
    if !roots.is_empty() {
        return Ok(roots);
    }
    if custom {
        let cause = native.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        return Err(Error::usage(format!("SSL_CERT_FILE or SSL_CERT_DIR names no certificate authority{cause}")));
    }
    tracing::info!("the system has no certificate authorities; using Mozilla's");
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    Ok(roots)
}

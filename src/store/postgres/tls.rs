//! TLS to the server: when it is needed, and whom it must prove to be.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::Socket;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::given::{Given, GivenText};
use crate::config::environment;
use crate::domain::{HostScope, host_scope};
use crate::error::{Error, Result};

/// The certificate authorities that a server's certificate must be signed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorities {
    /// Those that this tool trusts anyway.
    OfTool,
    /// Those of the system.
    OfSystem,
    /// Those of a PEM file.
    File(PathBuf),
}

/// How TLS is used, whatever the host.
pub(super) struct TlsPolicy {
    mode: TlsMode,
    authorities: Authorities,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TlsMode {
    /// Nothing was said: as `Verified`, and plain to this machine.
    ByHost,
    /// Never.
    Off,
    /// With whoever answers.
    Unverified,
    /// With a server whose certificate is signed by an authority, whatever its name.
    AnyName,
    /// With a server that proves its name.
    Verified,
}

/// The policy with what it needs.
pub(super) struct LoadedTls {
    mode: TlsMode,
    connector: Option<MakeRustlsConnect>,
}

/// How a connection to a host is protected.
#[derive(Clone)]
pub(super) enum Protection {
    /// It is not. If nobody has asked for that, the host must be this machine.
    Plain { local_only: bool },
    /// By TLS.
    Tls(MakeRustlsConnect),
}

impl TlsPolicy {
    /// What `sslmode`, `allow_unverified` and `sslrootcert` say.
    pub(super) fn of(given: &Given) -> Result<Self> {
        let named = given.text("sslrootcert", environment::PGSSLROOTCERT)?;
        let authorities = named.map_or(Authorities::OfTool, |named| match named.value {
            "system" => Authorities::OfSystem,
            path => Authorities::File(PathBuf::from(path)),
        });
        let unverified = match given.parameter("allow_unverified") {
            None => false,
            Some(text) => match text.value {
                "1" => true,
                "0" => false,
                _ => return Err(text.wrong("must be 1 or 0")),
            },
        };
        let mode = match given.text("sslmode", environment::PGSSLMODE)? {
            None => TlsMode::ByHost,
            Some(text) => mode(text, unverified, &authorities)?,
        };
        Ok(Self { mode, authorities })
    }

    /// Reads the certificate authorities, if one of the hosts needs them.
    pub(super) fn load<'a>(
        self,
        mut hosts: impl Iterator<Item = &'a str>,
        load: impl FnOnce(&Authorities) -> Result<RootCertStore>,
    ) -> Result<LoadedTls> {
        let Self { mode, authorities } = self;
        let needed = match mode {
            TlsMode::Off => {
                if hosts.any(|host| !is_local(host)) {
                    tracing::warn!("the connection to the store is not encrypted (sslmode=disable)");
                }
                false
            }
            TlsMode::ByHost => hosts.any(|host| !is_local(host)),
            _ => hosts.any(|host| !is_socket(host)),
        };
        let connector = if needed { Some(connector(mode, || load(&authorities))?) } else { None };
        Ok(LoadedTls { mode, connector })
    }
}

fn mode(text: GivenText, unverified: bool, authorities: &Authorities) -> Result<TlsMode> {
    match text.value {
        "disable" => Ok(TlsMode::Off),
        "verify-full" => Ok(TlsMode::Verified),
        "verify-ca" if matches!(authorities, Authorities::File(_)) => Ok(TlsMode::AnyName),
        "verify-ca" => Err(text
            .wrong("is verify-ca, by which any server with a certificate of a public authority would do")
            .hint("name your own authority with sslrootcert=FILE, or use sslmode=verify-full")),
        "require" if unverified => Ok(TlsMode::Unverified),
        "require" => Err(text.wrong("is require, by which any server would do, also one that reads along").hint(
            "use sslmode=verify-full, with sslrootcert=FILE if the authority is your own; if you trust the network, add \
             allow_unverified=1 to the URL",
        )),
        "prefer" | "allow" => Err(text
            .wrong(&format!("is {}, by which whoever is in between can switch encryption off", text.value))
            .hint("use sslmode=verify-full; or sslmode=disable, if you trust the network")),
        _ => Err(text.wrong("must be verify-full, verify-ca, require or disable")),
    }
}

impl LoadedTls {
    /// How a connection to this host is protected.
    pub(super) fn protection(&self, host: &str) -> Protection {
        match (&self.connector, self.mode) {
            (_, TlsMode::ByHost) if is_local(host) => Protection::Plain { local_only: true },
            (Some(connector), _) if !is_socket(host) => Protection::Tls(connector.clone()),
            _ => Protection::Plain { local_only: false },
        }
    }
}

/// Whether a host is the directory of a socket.
pub(super) fn is_socket(host: &str) -> bool {
    host.starts_with('/')
}

/// Whether a host is this machine, according to its name or address.
fn is_local(host: &str) -> bool {
    let parsed = host.parse().map_or(url::Host::Domain(host), |address| match address {
        std::net::IpAddr::V4(address) => url::Host::Ipv4(address),
        std::net::IpAddr::V6(address) => url::Host::Ipv6(address),
    });
    is_socket(host) || host_scope(&parsed) == HostScope::Loopback
}

fn connector(mode: TlsMode, load: impl FnOnce() -> Result<RootCertStore>) -> Result<MakeRustlsConnect> {
    let failed = |error: &dyn std::fmt::Display| Error::usage(format!("TLS could not be set up: {error}"));
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| failed(&error))?;
    let lenient = |chain| {
        let verifier = LenientVerifier { chain, provider: Arc::clone(&provider) };
        builder.clone().dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
    };
    let config = match mode {
        TlsMode::Unverified => lenient(None),
        TlsMode::AnyName => {
            let roots = Arc::new(load()?);
            let chain = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            lenient(Some(chain.map_err(|error| failed(&error))?))
        }
        _ => builder.with_root_certificates(load()?).with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

/// Lets a server have any name, and without `chain` any certificate. That it has the certificate's key is checked.
#[derive(Debug)]
struct LenientVerifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for LenientVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last, when everything else is right.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A connector that knows whether the server has agreed to TLS.
#[derive(Clone)]
pub(super) struct WatchedTls {
    pub(super) connector: MakeRustlsConnect,
    pub(super) begun: Arc<AtomicBool>,
}

impl MakeTlsConnect<Socket> for WatchedTls {
    type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
    type TlsConnect = WatchedHandshake;
    type Error = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<WatchedHandshake, Self::Error> {
        let handshake = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.connector, domain)?;
        Ok(WatchedHandshake { handshake, begun: Arc::clone(&self.begun) })
    }
}

type Handshake = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;

/// A handshake that tells when it begins.
pub(super) struct WatchedHandshake {
    handshake: Handshake,
    begun: Arc<AtomicBool>,
}

impl TlsConnect<Socket> for WatchedHandshake {
    type Stream = <Handshake as TlsConnect<Socket>>::Stream;
    type Error = <Handshake as TlsConnect<Socket>>::Error;
    type Future = <Handshake as TlsConnect<Socket>>::Future;

    fn connect(self, stream: Socket) -> Self::Future {
        self.begun.store(true, Ordering::Relaxed);
        self.handshake.connect(stream)
    }
}

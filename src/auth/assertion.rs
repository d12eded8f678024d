//! Signed client assertions, with which a service account with a key authenticates (RFC 7523, section 2.2).
//!
//! Bugfender has the RSA public key of the account. The wire format is not public; this one is assumed.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, KeyUtils};
use jsonwebtoken::errors::{Error as JwtError, ErrorKind as JwtErrorKind};
use jsonwebtoken::signature::{Error as SignatureError, Signer};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{self, PemObject};
use serde::Serialize;

use crate::domain::{ClientId, bytes_without_bom};
use crate::error::{Error, ErrorKind, Result};

/// The value of `client_assertion_type`.
pub const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The lifetime of an assertion in seconds, twice the maximum duration of a token request.
const LIFE: i64 = 120;

/// The maximum size of a key file in bytes, many times that of a key.
const MAX_FILE: u64 = 64 * 1024;

/// The claims (RFC 7523, section 3).
#[derive(Serialize)]
struct AssertionClaims<'a> {
    /// The issuer: the client.
    iss: &'a str,
    /// The subject: the client.
    sub: &'a str,
    /// The audience: the token endpoint.
    aud: &'a str,
    /// A unique id.
    jti: String,
    /// When it was issued, in seconds since 1970.
    iat: i64,
    /// When it expires, in seconds since 1970.
    exp: i64,
}

/// Creates an assertion for a token endpoint.
///
/// # Errors
/// A usage error for a file without an RSA private key.
pub(super) fn sign(client: &ClientId, audience: &str, key_file: &Path) -> Result<String> {
    let key = read_key(key_file)?;
    let mut id = [0; 16];
    let failed = |what: &str| Error::new(ErrorKind::Other, format!("could not create the client assertion: {what}"));
    SystemRandom::new().fill(&mut id).map_err(|_| failed("the system provides no random numbers"))?;
    let now = Timestamp::now().as_second();
    let claims = AssertionClaims {
        iss: client.as_str(),
        sub: client.as_str(),
        aud: audience,
        jti: BASE64_URL_SAFE_NO_PAD.encode(id),
        iat: now,
        exp: now + LIFE,
    };
    // The provider is process-wide and may be installed already.
    let _ = PROVIDER.install_default();
    let token = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key);
    token.map_err(|error| failed(&error.to_string()))
}

/// Reads an RSA private key, in PKCS#1 or PKCS#8.
///
/// # Errors
/// A usage error that says what the file contains instead.
pub fn read_key(path: &Path) -> Result<EncodingKey> {
    let wrong = |what: &str| {
        Error::usage(format!("{}: {what}", path.display())).hint(
            "use a PEM file with an unencrypted RSA private key, PKCS#1 (BEGIN RSA PRIVATE KEY) or PKCS#8 (BEGIN PRIVATE KEY)",
        )
    };
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut text));
    if read.map_err(|error| wrong(&error.to_string()))? as u64 > MAX_FILE {
        return Err(wrong("too large for a key file"));
    }
    let key = PrivateKeyDer::from_pem_slice(bytes_without_bom(&text)).map_err(|error| match error {
        pem::Error::NoItemsFound => wrong(&contents_of(&String::from_utf8_lossy(&text))),
        _ => wrong("not a PEM file"),
    })?;
    let der = match &key {
        PrivateKeyDer::Pkcs1(der) => der.secret_pkcs1_der(),
        PrivateKeyDer::Pkcs8(der) => der.secret_pkcs8_der(),
        _ => return Err(wrong("the key is not an RSA key")),
    };
    match key_pair(der) {
        Ok(_) => Ok(EncodingKey::from_rsa_der(der)),
        Err(error) if error.to_string() == "WrongAlgorithm" => Err(wrong("the key is not an RSA key")),
        Err(error) => Err(wrong(&format!("the key is not supported ({error}); use RSA with 2048 to 4096 bits"))),
    }
}

/// What a PEM file without a usable private key contains.
fn contents_of(text: &str) -> String {
    if text.contains("ENCRYPTED PRIVATE KEY") {
        return "the key is encrypted with a passphrase".to_owned();
    }
    let label = text.lines().find_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    label.map_or_else(
        || "not a PEM file".to_owned(),
        |label| format!("contains {}, not a private key", crate::domain::excerpt(label, 40)),
    )
}

fn key_pair(der: &[u8]) -> Result<RsaKeyPair, ring::error::KeyRejected> {
    // At most one of the two parses.
    RsaKeyPair::from_der(der).or_else(|_| RsaKeyPair::from_pkcs8(der))
}

/// Signs with ring, which TLS uses too.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match algorithm {
        Algorithm::RS256 => {
            let pair = key_pair(key.as_bytes()).map_err(|error| JwtErrorKind::InvalidRsaKey(error.to_string()))?;
            Ok(Box::new(RsaSigner(pair)))
        }
        _ => Err(JwtErrorKind::InvalidAlgorithm.into()),
    },
    // Nothing is verified here.
    verifier_factory: |_, _| Err(JwtError::from(JwtErrorKind::InvalidAlgorithm)),
    key_utils: KeyUtils::new_unimplemented(),
};

struct RsaSigner(RsaKeyPair);

impl Signer<Vec<u8>> for RsaSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let mut signature = vec![0; self.0.public().modulus_len()];
        let signed = self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
        signed.map(|()| signature).map_err(|_| SignatureError::new())
    }
}

impl JwtSigner for RsaSigner {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}

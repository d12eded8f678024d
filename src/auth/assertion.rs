//! What a service account with a key proves itself with: a signed assertion (RFC 7523, section 2.2).
//!
//! Bugfender has the account's RSA public key on file; the wire form is not public, so that this is assumed.

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

use crate::domain::ClientId;
use crate::error::{Error, ErrorKind, Result};

/// The type of the assertion, as `client_assertion_type`.
pub const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long an assertion is good for, in seconds: twice as long as one is asked for a token with.
const LIFE: i64 = 120;

/// The longest file that is read, in bytes: many times the length of a key.
const MAX_FILE: u64 = 64 * 1024;

/// The claims (RFC 7523, section 3).
#[derive(Serialize)]
struct AssertionClaims<'a> {
    /// Who says so: the client.
    iss: &'a str,
    /// About whom: the client.
    sub: &'a str,
    /// To whom: the token endpoint.
    aud: &'a str,
    /// Its number, never used again.
    jti: String,
    /// Since when, in seconds since 1970.
    iat: i64,
    /// Until when.
    exp: i64,
}

/// Makes a fresh assertion for a token endpoint.
///
/// # Errors
/// A usage error for a file that holds no RSA private key.
pub(super) fn sign(client: &ClientId, audience: &str, key_file: &Path) -> Result<String> {
    let key = read_key(key_file)?;
    let mut number = [0; 16];
    let failed = |what: &str| Error::new(ErrorKind::Other, format!("the client assertion could not be made: {what}"));
    SystemRandom::new().fill(&mut number).map_err(|_| failed("the system gives no random numbers"))?;
    let now = Timestamp::now().as_second();
    let claims = AssertionClaims {
        iss: client.as_str(),
        sub: client.as_str(),
        aud: audience,
        jti: BASE64_URL_SAFE_NO_PAD.encode(number),
        iat: now,
        exp: now + LIFE,
    };
    // The same for the whole process; it may be there already.
    let _ = PROVIDER.install_default();
    let token = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key);
    token.map_err(|error| failed(&error.to_string()))
}

/// Reads an RSA private key, in PKCS#1 or PKCS#8.
///
/// # Errors
/// A usage error that says what the file is instead.
pub fn read_key(path: &Path) -> Result<EncodingKey> {
    let wrong = |what: &str| {
        Error::usage(format!("{}: {what}", path.display())).hint(
            "name a PEM file with an unencrypted RSA private key, PKCS#1 (BEGIN RSA PRIVATE KEY) or PKCS#8 (BEGIN PRIVATE KEY)",
        )
    };
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut text));
    if read.map_err(|error| wrong(&error.to_string()))? as u64 > MAX_FILE {
        return Err(wrong("it is too long for a key"));
    }
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => wrong(&what_it_is(&String::from_utf8_lossy(&text))),
        _ => wrong("it is not a PEM file"),
    })?;
    let der = match &key {
        PrivateKeyDer::Pkcs1(der) => der.secret_pkcs1_der(),
        PrivateKeyDer::Pkcs8(der) => der.secret_pkcs8_der(),
        _ => return Err(wrong("it holds a key that is not RSA")),
    };
    match key_pair(der) {
        Ok(_) => Ok(EncodingKey::from_rsa_der(der)),
        Err(error) if error.to_string() == "WrongAlgorithm" => Err(wrong("it holds a key that is not RSA")),
        Err(error) => Err(wrong(&format!("its key can't be used ({error}); RSA with 2048 to 4096 bits can"))),
    }
}

/// What a PEM file without a usable private key holds.
fn what_it_is(text: &str) -> String {
    if text.contains("ENCRYPTED PRIVATE KEY") {
        return "its key is encrypted with a passphrase".to_owned();
    }
    let label = text.lines().find_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    label.map_or_else(
        || "it is not a PEM file".to_owned(),
        |label| format!("it holds no private key but: {}", crate::domain::excerpt(label, 40)),
    )
}

fn key_pair(der: &[u8]) -> Result<RsaKeyPair, ring::error::KeyRejected> {
    // Only one of the two forms can be read as such.
    RsaKeyPair::from_der(der).or_else(|_| RsaKeyPair::from_pkcs8(der))
}

/// Signing by ring, which TLS uses too.
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

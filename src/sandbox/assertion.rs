//! Client assertions (RFC 7523), with which a service account with a key authenticates. Bugfender's wire format is not
//! public; this one is assumed.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::Value;
use webpki::RawPublicKeyEntity;
use webpki::ring::RSA_PKCS1_2048_8192_SHA256;

use super::CLIENT_ID;
use crate::error::{Error, Result};

/// The required `client_assertion_type`.
const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The public key of the service account.
#[derive(Debug, Clone)]
pub(super) struct ClientKey(SubjectPublicKeyInfoDer<'static>);

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Value,
    jti: String,
    exp: i64,
}

impl ClientKey {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let wrong = |what: &str| {
            Error::usage(format!("{}: {what}", path.display())).hint(
                "use a PEM file with an RSA public key (BEGIN PUBLIC KEY), as written by `openssl pkey -in key.pem -pubout`",
            )
        };
        let key = SubjectPublicKeyInfoDer::from_pem_file(path).map_err(|error| wrong(&error.to_string()))?;
        RawPublicKeyEntity::try_from(&key).map_err(|error| wrong(&error.to_string()))?;
        Ok(Self(key))
    }

    /// The `jti` of a valid assertion: signed with RS256 by the key, issued by the service account for `audience`, and
    /// not expired.
    pub(super) fn verify(&self, kind: Option<&str>, assertion: &str, audience: &str) -> Option<String> {
        let (signed, signature) = assertion.rsplit_once('.').filter(|_| kind == Some(TYPE))?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        let claims: Claims = serde_json::from_slice(&decode(claims)?).ok()?;
        let key = RawPublicKeyEntity::try_from(&self.0).ok()?;
        key.verify_signature(RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &decode(signature)?).ok()?;
        let audiences = claims.aud.as_array().map_or_else(|| vec![&claims.aud], |all| all.iter().collect());
        let valid = header.alg == "RS256"
            && claims.iss == CLIENT_ID
            && claims.sub == CLIENT_ID
            && audiences.iter().any(|value| *value == audience)
            && claims.exp > Timestamp::now().as_second();
        valid.then_some(claims.jti)
    }
}

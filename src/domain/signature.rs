//! Webhook signatures of Instabug and of the Standard Webhooks specification, both HMAC-SHA-256.
//!
//! The crate `standardwebhooks` (1.0.1) does not pass the tests below: it measures age by the clock alone and always by
//! five minutes, accepts a secret of no bytes, and signs nothing but UTF-8.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use ring::digest::SHA256_OUTPUT_LEN;
use ring::hmac;
use serde::Serialize;

use super::Secret;
use crate::error::{Error, Result};

/// The header of the signature of Luciq, which was Instabug (documented).
pub const LUCIQ_SIGNATURE: &str = "x-lcq-signature-256";
/// The former name of that header (documented). Which of them the servers send is not known.
pub const INSTABUG_SIGNATURE: &str = "x-ibg-signature-256";
/// Both names, the current one first.
pub const LUCIQ_SIGNATURES: [&str; 2] = [LUCIQ_SIGNATURE, INSTABUG_SIGNATURE];
/// The header with the message id in the Standard Webhooks specification.
pub const WEBHOOK_ID: &str = "webhook-id";
/// The header with the time of signing, in seconds since 1970.
pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
/// The header with one or more signatures, separated by spaces.
pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";

/// The optional prefix of a Standard Webhooks secret, before the base64.
const SECRET_PREFIX: &str = "whsec_";

/// A signature scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// Instabug: the HMAC of the raw body, in hexadecimal.
    Instabug,
    /// Standard Webhooks: the HMAC of id, timestamp and raw body, in base64.
    StandardWebhooks,
}

impl Scheme {
    /// Its name, as in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instabug => "instabug",
            Self::StandardWebhooks => "standard_webhooks",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Verifies Instabug's signature in `header` for `body`, in constant time.
///
/// That it is an HMAC is from a public description; that it is in hexadecimal is assumed. A `sha256=` prefix and upper
/// case are accepted too.
pub fn verify_instabug(secret: &Secret, body: &[u8], header: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    instabug_bytes(header).is_some_and(|signature| hmac::verify(&key, body, &signature).is_ok())
}

/// Whether this has the form of an Instabug signature.
pub fn may_be_instabug(header: &str) -> bool {
    instabug_bytes(header).is_some_and(|signature| signature.len() == SHA256_OUTPUT_LEN)
}

/// Whether this has the form of an Instabug secret: 16 to 64 random letters and digits (documented).
pub fn may_be_instabug_secret(secret: &Secret) -> bool {
    let secret = secret.expose();
    (16..=64).contains(&secret.len()) && secret.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn instabug_bytes(header: &str) -> Option<Vec<u8>> {
    let header = header.trim();
    let header = header.get(..7).filter(|start| start.eq_ignore_ascii_case("sha256=")).map_or(header, |_| &header[7..]);
    hex::decode(header).ok()
}

/// Instabug's signature of `body`, as verified by [`verify_instabug`].
pub fn sign_instabug(secret: &Secret, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    hex::encode(hmac::sign(&key, body))
}

/// The headers of a Standard Webhooks request.
#[derive(Debug, Clone, Copy)]
pub struct StandardHeaders<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`, in seconds since 1970.
    pub timestamp: &'a str,
    /// `webhook-signature`.
    pub signature: &'a str,
}

impl StandardHeaders<'_> {
    /// When it was signed.
    pub fn signed_at(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.timestamp.trim().parse().ok()?).ok()
    }

    /// The signature of these headers and `body`, as verified by [`StandardHeaders::verify`]. The `signature` field is
    /// ignored.
    ///
    /// # Errors
    /// As [`StandardHeaders::verify`].
    pub fn sign(&self, secret: &Secret, body: &[u8]) -> Result<String> {
        let signature = hmac::sign(&standard_key(secret)?, &self.content(body));
        Ok(format!("v1,{}", BASE64_STANDARD.encode(signature)))
    }

    fn content(&self, body: &[u8]) -> Vec<u8> {
        [self.id.trim().as_bytes(), b".", self.timestamp.trim().as_bytes(), b".", body].concat()
    }

    /// Whether one of the signatures is valid for `body` and this secret. Compares in constant time.
    ///
    /// # Errors
    /// A usage error for a secret that is not base64, with or without the prefix `whsec_`.
    pub fn verify(&self, secret: &Secret, body: &[u8]) -> Result<bool> {
        let key = standard_key(secret)?;
        let content = self.content(body);
        let is_valid = |signature: &str| {
            let bytes = signature.strip_prefix("v1,").and_then(|text| BASE64_STANDARD.decode(text).ok());
            bytes.is_some_and(|bytes| hmac::verify(&key, &content, &bytes).is_ok())
        };
        Ok(self.signature.split_whitespace().any(is_valid))
    }

    /// Whether it was signed within `tolerance` of `now`, in the past or the future.
    pub fn is_recent(&self, now: Timestamp, tolerance: Duration) -> bool {
        let Ok(tolerance) = SignedDuration::try_from(tolerance) else { return true };
        self.signed_at().is_some_and(|signed_at| now.duration_since(signed_at).abs() <= tolerance)
    }
}

/// The headers of a Standard Webhooks request with this id and time, signed if there is a secret.
///
/// # Errors
/// As [`StandardHeaders::sign`].
pub fn standard_headers(
    id: &str,
    now: Timestamp,
    secret: Option<&Secret>,
    body: &[u8],
) -> Result<Vec<(&'static str, String)>> {
    let timestamp = now.as_second().to_string();
    let signed = StandardHeaders { id, timestamp: &timestamp, signature: "" };
    let signature = secret.map(|secret| signed.sign(secret, body)).transpose()?;
    let mut headers = vec![(WEBHOOK_ID, id.to_owned()), (WEBHOOK_TIMESTAMP, timestamp)];
    headers.extend(signature.map(|signature| (WEBHOOK_SIGNATURE, signature)));
    Ok(headers)
}

/// Checks that a secret has 24 to 64 bytes in base64, as the Standard Webhooks specification requires.
///
/// # Errors
/// A usage error that says what is wrong.
pub fn check_standard_secret(secret: &Secret) -> Result<()> {
    let length = standard_bytes(secret)?.len();
    if (24..=64).contains(&length) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "the signing secret has {length} bytes; the Standard Webhooks specification requires 24 to 64"
    ))
    .hint("specify a file that does not exist to create a new secret in it"))
}

/// A new Standard Webhooks secret of 32 random bytes.
///
/// # Errors
/// When the system provides no random numbers.
pub fn new_standard_secret() -> Result<Secret> {
    Secret::parse("the secret", &format!("{SECRET_PREFIX}{}", BASE64_STANDARD.encode(random_bytes::<32>()?)))
}

/// Cryptographically secure random bytes.
///
/// # Errors
/// When the system provides none.
pub fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| Error::new(crate::error::ErrorKind::Other, "the system provides no random numbers"))?;
    Ok(bytes)
}

fn standard_key(secret: &Secret) -> Result<hmac::Key> {
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &standard_bytes(secret)?))
}

/// The bytes of a secret. An empty one is an error, as anyone could sign with it.
fn standard_bytes(secret: &Secret) -> Result<Vec<u8>> {
    let text = secret.expose();
    let bytes = BASE64_STANDARD.decode(text.strip_prefix(SECRET_PREFIX).unwrap_or(text)).ok();
    bytes.filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
        Error::usage("not a Standard Webhooks secret")
            .hint(format!("it must be base64, optionally with the prefix {SECRET_PREFIX}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::parse("the secret", text).unwrap()
    }

    #[test]
    fn instabug_signatures_are_hmacs_in_hexadecimal() {
        // RFC 4231, test case 2.
        let good = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let body = b"what do ya want for nothing?";
        let upper = good.to_uppercase();
        for header in [good, &upper, &format!("sha256={good}"), &format!(" SHA256={upper} ")] {
            assert!(verify_instabug(&secret("Jefe"), body, header), "{header}");
        }
        assert_eq!(sign_instabug(&secret("Jefe"), body), good);
        let (short, long) = (&good[..62], format!("{good}00"));
        for header in ["", "sha256=", short, &long, &good[1..], &format!("é{}", &good[2..]), &"zz".repeat(32)] {
            assert!(!verify_instabug(&secret("Jefe"), body, header), "{header}");
        }
        assert!(!verify_instabug(&secret("jefe"), body, good));
        assert!(may_be_instabug_secret(&secret(&"a1".repeat(8))) && may_be_instabug_secret(&secret(&"a".repeat(64))));
        for odd in ["Jefe", &"a".repeat(15), &"a".repeat(65), "sixteen and more!"] {
            assert!(!may_be_instabug_secret(&secret(odd)), "{odd}");
        }
        assert!(!verify_instabug(&secret("Jefe"), b"what do ya want for nothing!", good));
    }

    #[test]
    fn standard_signatures_are_those_of_the_specification() {
        // The example in the reference libraries of the specification.
        let headers = StandardHeaders {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp: "1614265330",
            signature: "v1a,x v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        };
        let key = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = br#"{"test": 2432232314}"#;
        assert!(headers.verify(&key, body).unwrap());
        assert!(headers.signature.ends_with(&headers.sign(&key, body).unwrap()));
        assert!(headers.verify(&secret("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), body).unwrap());
        assert!(!headers.verify(&key, b"{}").unwrap());
        let binary = headers.sign(&key, b"\xff\xfe").unwrap();
        assert!(StandardHeaders { signature: &binary, ..headers }.verify(&key, b"\xff\xfe").unwrap());
        assert!(!StandardHeaders { id: "other", ..headers }.verify(&key, body).unwrap());
        assert!(!StandardHeaders { timestamp: "1614265331", ..headers }.verify(&key, body).unwrap());
        for wrong in ["whsec_***", "whsec_"] {
            assert!(headers.verify(&secret(wrong), body).is_err(), "{wrong}");
        }
        assert!(check_standard_secret(&key).is_ok() && check_standard_secret(&secret("whsec_YWJj")).is_err());
        let signed_at = headers.signed_at().unwrap();
        assert!(headers.is_recent(signed_at + SignedDuration::from_secs(300), Duration::from_secs(300)));
        assert!(!headers.is_recent(signed_at + SignedDuration::from_secs(301), Duration::from_secs(300)));
        assert!(!StandardHeaders { timestamp: "soon", ..headers }.is_recent(signed_at, Duration::from_secs(300)));
    }
}

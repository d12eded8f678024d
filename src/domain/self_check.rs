//! How a receiver recognises its own requests, and the answers to them, without a key that is sent.
//!
//! Both are proven with a key that is derived from the one in Bugfender's path. The receivers of one store share it, as a
//! balancer may lead the request of one to another.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::hmac;

use super::Secret;
use super::signature::random_bytes;
use crate::error::Result;

/// The header that proves the caller: the time of the request in seconds since 1970, and a proof for each of its keys.
pub const SELF_CHECK_HEADER: &str = "x-bugfender-hooks-self-check";

/// What stands before the nonce where deliveries have their key: the request goes the way of deliveries, whatever part of
/// their path a proxy looks at.
const SEGMENT_PREFIX: &str = "self-check-";

/// Separates the key from others that may be derived from the one in Bugfender's path.
const CONTEXT: &[u8] = b"bugfender-hooks self-check 1";

/// How far the clocks of two receivers may differ.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// How many keys a request is proven with: the current one, and the newest former ones, as another receiver may not know
/// yet that the key was rotated.
const MOST_PROOFS: usize = 4;

/// A random number that is used for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfCheckNonce(String);

impl SelfCheckNonce {
    /// A new one.
    ///
    /// # Errors
    /// When the system provides no random numbers.
    pub fn new() -> Result<Self> {
        Ok(Self(BASE64_URL_SAFE_NO_PAD.encode(random_bytes::<16>()?)))
    }

    /// The nonce in a segment of a path, if that is one of a self-check.
    pub fn in_segment(segment: &str) -> Option<Self> {
        segment.strip_prefix(SEGMENT_PREFIX).map(|nonce| Self(nonce.to_owned()))
    }

    /// The segment of the path of its request.
    pub fn segment(&self) -> String {
        format!("{SEGMENT_PREFIX}{}", self.0)
    }
}

/// The keys of self-checks: the current one first, then former ones with their expiry, the newest first.
#[derive(Clone)]
pub struct SelfCheckKeys(Vec<(hmac::Key, Option<Timestamp>)>);

/// Shows no key.
impl fmt::Debug for SelfCheckKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SelfCheckKeys").field(&self.0.len()).finish()
    }
}

impl SelfCheckKeys {
    /// The key that is derived from the one in Bugfender's path.
    pub(super) fn of(key: &Secret) -> Self {
        Self(vec![(derived(key), None)])
    }

    /// With those of former keys, the newest last, each until its expiry.
    pub(super) fn with_former(mut self, former: &[(Secret, Timestamp)]) -> Self {
        self.0.truncate(1);
        self.0.extend(former.iter().rev().map(|(key, until)| (derived(key), Some(*until))));
        self
    }

    fn valid(&self, now: Timestamp) -> impl Iterator<Item = &hmac::Key> {
        self.0.iter().filter(move |(_, until)| until.is_none_or(|until| now < until)).map(|(key, _)| key)
    }

    /// The value of [`SELF_CHECK_HEADER`] for a request with this nonce.
    pub fn sign_request(&self, nonce: &SelfCheckNonce, now: Timestamp) -> String {
        let seconds = now.as_second();
        let proofs = self.valid(now).take(MOST_PROOFS);
        let proofs = proofs.map(|key| hex::encode(hmac::sign(key, request_text(nonce, seconds).as_bytes())));
        std::iter::once(seconds.to_string()).chain(proofs).collect::<Vec<_>>().join(" ")
    }

    /// The answer to a request with this nonce and this value of [`SELF_CHECK_HEADER`], if a holder of one of these keys
    /// made it within the last minutes.
    pub fn answer(&self, nonce: &SelfCheckNonce, header: &str, now: Timestamp) -> Option<String> {
        let mut words = header.split(' ');
        let seconds: i64 = words.next()?.parse().ok()?;
        if now.duration_since(Timestamp::from_second(seconds).ok()?).abs() > TOLERANCE {
            return None;
        }
        let proofs: Vec<Vec<u8>> = words.take(MOST_PROOFS).filter_map(|word| hex::decode(word).ok()).collect();
        let text = request_text(nonce, seconds);
        let proves = |key: &&hmac::Key| proofs.iter().any(|proof| hmac::verify(key, text.as_bytes(), proof).is_ok());
        let key = self.valid(now).find(proves)?;
        Some(hex::encode(hmac::sign(key, answer_text(nonce).as_bytes())))
    }

    /// Whether this answers the request with this nonce.
    pub fn is_answer(&self, nonce: &SelfCheckNonce, answer: &str, now: Timestamp) -> bool {
        let Ok(answer) = hex::decode(answer) else { return false };
        self.valid(now).any(|key| hmac::verify(key, answer_text(nonce).as_bytes(), &answer).is_ok())
    }
}

fn derived(key: &Secret) -> hmac::Key {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, CONTEXT).as_ref())
}

fn request_text(nonce: &SelfCheckNonce, seconds: i64) -> String {
    format!("request {} {seconds}", nonce.0)
}

fn answer_text(nonce: &SelfCheckNonce) -> String {
    format!("answer {}", nonce.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::parse("the key", text).unwrap()
    }

    fn now() -> Timestamp {
        "2026-06-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn who_shares_a_key_is_recognised_and_nobody_else() {
        let (ours, theirs) = (SelfCheckKeys::of(&secret("k3y")), SelfCheckKeys::of(&secret("other")));
        let nonce = SelfCheckNonce::new().unwrap();
        let header = ours.sign_request(&nonce, now());
        let answer = ours.answer(&nonce, &header, now()).unwrap();
        assert!(ours.is_answer(&nonce, &answer, now()) && !theirs.is_answer(&nonce, &answer, now()));
        assert_eq!(theirs.answer(&nonce, &header, now()), None);
        // Neither with another nonce, nor at another time.
        let other = SelfCheckNonce::new().unwrap();
        assert_ne!(nonce, other);
        assert_eq!(ours.answer(&other, &header, now()), None);
        assert!(!ours.is_answer(&other, &answer, now()));
        let minutes = |minutes| now() + SignedDuration::from_mins(minutes);
        assert!(
            ours.answer(&nonce, &header, minutes(5)).is_some() && ours.answer(&nonce, &header, minutes(-5)).is_some()
        );
        assert_eq!(ours.answer(&nonce, &header, minutes(6)), None);
        let later = header.replacen(&now().as_second().to_string(), &minutes(6).as_second().to_string(), 1);
        assert_eq!(ours.answer(&nonce, &later, minutes(6)), None);
        // The proof of a request does not answer it.
        let proof = header.split(' ').nth(1).unwrap();
        assert!(!ours.is_answer(&nonce, proof, now()));
        for wrong in ["", "x", "1", "1 ", &answer, &format!("{} {answer}", now().as_second())] {
            assert_eq!(ours.answer(&nonce, wrong, now()), None, "{wrong}");
            assert!(!ours.is_answer(&nonce, wrong, now()) || wrong == answer, "{wrong}");
        }
        assert!(!format!("{ours:?} {header}").contains("k3y"));
    }

    #[test]
    fn a_rotation_that_only_one_of_two_receivers_knows_of_separates_them_once_the_old_key_expired() {
        let until = now() + SignedDuration::from_hours(1);
        let behind = SelfCheckKeys::of(&secret("old"));
        let ahead = SelfCheckKeys::of(&secret("new")).with_former(&[(secret("older"), until), (secret("old"), until)]);
        for (caller, receiver) in [(&behind, &ahead), (&ahead, &behind)] {
            let nonce = SelfCheckNonce::new().unwrap();
            let ask = |at| receiver.answer(&nonce, &caller.sign_request(&nonce, at), at);
            assert!(caller.is_answer(&nonce, &ask(now()).unwrap(), now()));
            assert_eq!(ask(until), None);
        }
    }

    #[test]
    fn a_segment_of_a_self_check_is_told_from_a_key() {
        let nonce = SelfCheckNonce::new().unwrap();
        assert_eq!(SelfCheckNonce::in_segment(&nonce.segment()), Some(nonce));
        assert_eq!(SelfCheckNonce::in_segment("Zm9vYmFyYmF6cXV4"), None);
    }
}

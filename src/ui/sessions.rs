//! The browsers that are signed in, and what slows down who guesses.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA256, digest};
use tokio::sync::Semaphore;

use crate::domain::Secret;
use crate::domain::signature::random_bytes;
use crate::error::Result;

/// How many browsers may be signed in; the one that signed in first is forgotten.
const MAX_SESSIONS: usize = 1000;

/// How long a browser stays signed in in which nobody opens or changes anything. What an open page asks for by itself does
/// not count.
const IDLE_LIMIT: SignedDuration = SignedDuration::from_hours(12);

/// How many wrong passwords may be tried before the next is looked at with a delay.
const FREE_ATTEMPTS: u32 = 5;

/// The delay.
const ATTEMPT_DELAY: Duration = Duration::from_secs(1);

/// How many passwords may wait to be looked at, as they are one after another.
const MAX_WAITING: usize = 20;

/// How long the address is good that a program is told to open.
const OPENING: Duration = Duration::from_secs(60);

/// After so long wrong passwords are forgotten.
const FORGIVE_AFTER: Duration = Duration::from_secs(60);

/// A browser that is signed in.
struct BrowserSession {
    /// Of what its cookie says.
    hash: [u8; 32],
    name: String,
    used_at: Timestamp,
}

impl BrowserSession {
    fn lasts(&self, now: Timestamp) -> bool {
        now.duration_since(self.used_at) < IDLE_LIMIT
    }
}

/// The browsers that are signed in.
pub(super) struct Sessions {
    signed_in: Mutex<VecDeque<BrowserSession>>,
    failures: Mutex<Option<(u32, Instant)>>,
    /// The token that is good once, and since when.
    opening: Mutex<Option<([u8; 32], Instant)>>,
    /// Places for those whose passwords are to be looked at.
    pub(super) waiting: Semaphore,
    /// Of the password that is looked at: many at once are no faster than one after another.
    pub(super) turn: tokio::sync::Mutex<()>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            signed_in: Mutex::default(),
            failures: Mutex::default(),
            opening: Mutex::default(),
            waiting: Semaphore::new(MAX_WAITING),
            turn: tokio::sync::Mutex::default(),
        }
    }
}

impl Sessions {
    /// Signs a browser in; returns what its cookie is to say.
    pub(super) fn begin(&self, name: String, now: Timestamp) -> Result<String> {
        let cookie = new_token()?.expose().to_owned();
        let mut signed_in = self.signed_in.lock().unwrap_or_else(PoisonError::into_inner);
        signed_in.retain(|session| session.lasts(now));
        if signed_in.len() >= MAX_SESSIONS {
            signed_in.pop_front();
        }
        signed_in.push_back(BrowserSession { hash: hash(&cookie), name, used_at: now });
        Ok(cookie)
    }

    /// A token that signs in once, and soon: everybody on a machine sees what programs are told to open.
    pub(super) fn opening_token(&self) -> Result<Secret> {
        let token = new_token()?;
        *self.opening.lock().unwrap_or_else(PoisonError::into_inner) = Some((hash(token.expose()), Instant::now()));
        Ok(token)
    }

    /// Whether this is that token, which is no good any more then.
    pub(super) fn is_opening(&self, token: &str) -> bool {
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = hash(token);
        let is_right = opening.is_some_and(|(known, since)| known == hash && since.elapsed() < OPENING);
        if is_right {
            *opening = None;
        }
        is_right
    }

    pub(super) fn name(&self, cookie: &str, now: Timestamp) -> Option<String> {
        let hash = hash(cookie);
        let signed_in = self.signed_in.lock().unwrap_or_else(PoisonError::into_inner);
        signed_in.iter().find(|session| session.hash == hash && session.lasts(now)).map(|session| session.name.clone())
    }

    /// Notes that a browser that is signed in asks for something.
    pub(super) fn note_use(&self, cookie: &str, now: Timestamp) {
        let hash = hash(cookie);
        let mut signed_in = self.signed_in.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = signed_in.iter_mut().find(|session| session.hash == hash && session.lasts(now)) {
            session.used_at = now;
        }
    }

    pub(super) fn end(&self, cookie: &str) {
        let hash = hash(cookie);
        self.signed_in.lock().unwrap_or_else(PoisonError::into_inner).retain(|session| session.hash != hash);
    }

    /// How long to wait before the next password is looked at.
    pub(super) fn delay(&self) -> Duration {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let many = failures.is_some_and(|(count, last)| count >= FREE_ATTEMPTS && last.elapsed() < FORGIVE_AFTER);
        if many { ATTEMPT_DELAY } else { Duration::ZERO }
    }

    pub(super) fn note_failure(&self) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let before = failures.filter(|(_, last)| last.elapsed() < FORGIVE_AFTER).map_or(0, |(count, _)| count);
        *failures = Some((before.saturating_add(1), Instant::now()));
    }
}

/// What is looked up or compared is a hash, so that time tells nothing of what it is of.
pub(super) fn hash(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

/// A token that nobody can guess.
pub(super) fn new_token() -> Result<Secret> {
    Secret::parse("the token", &BASE64_URL_SAFE_NO_PAD.encode(random_bytes::<24>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_good_until_it_is_signed_out() {
        let sessions = Sessions::default();
        let now = Timestamp::UNIX_EPOCH;
        let begin = |name: &str| sessions.begin(name.to_owned(), now).unwrap();
        let (one, other) = (begin("one"), begin("other"));
        assert_eq!(sessions.name(&one, now).as_deref(), Some("one"));
        sessions.end(&one);
        assert_eq!((sessions.name(&one, now), sessions.name(&other, now).as_deref()), (None, Some("other")));
        for number in 0..MAX_SESSIONS {
            begin(&number.to_string());
        }
        assert_eq!(sessions.name(&other, now), None);
    }

    #[test]
    fn a_cookie_that_nobody_uses_is_good_no_more() {
        let sessions = Sessions::default();
        let at = |minutes: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
        let (used, left) =
            (sessions.begin("used".to_owned(), at(0)).unwrap(), sessions.begin("left".to_owned(), at(0)).unwrap());
        let limit = IDLE_LIMIT.as_mins();
        sessions.note_use(&used, at(limit - 1));
        assert_eq!(sessions.name(&left, at(limit - 1)).as_deref(), Some("left"));
        assert_eq!((sessions.name(&used, at(limit)).as_deref(), sessions.name(&left, at(limit))), (Some("used"), None));
        // It does not come back.
        sessions.note_use(&left, at(limit));
        assert_eq!((sessions.name(&left, at(limit)), sessions.name(&used, at(2 * limit))), (None, None));
        sessions.begin("next".to_owned(), at(2 * limit)).unwrap();
        assert_eq!(sessions.signed_in.lock().unwrap().len(), 1);
    }

    #[test]
    fn what_a_program_opens_is_good_once() {
        let sessions = Sessions::default();
        assert!(!sessions.is_opening(""));
        let (first, token) = (sessions.opening_token().unwrap(), sessions.opening_token().unwrap());
        assert!(!sessions.is_opening(first.expose()) && !sessions.is_opening(""));
        assert!(sessions.is_opening(token.expose()) && !sessions.is_opening(token.expose()));
    }

    #[test]
    fn guessing_is_slowed_down() {
        let sessions = Sessions::default();
        for _ in 0..FREE_ATTEMPTS {
            assert_eq!(sessions.delay(), Duration::ZERO);
            sessions.note_failure();
        }
        assert_eq!(sessions.delay(), ATTEMPT_DELAY);
    }
}

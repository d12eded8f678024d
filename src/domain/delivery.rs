//! Deliveries at the trust boundary: only a verified request becomes a delivery, and only deliveries are stored.

use std::fmt;

use jiff::Timestamp;
use ring::hmac;
use serde::Serialize;

use super::event::{self, EventFacts, Malformed, Sender};
use super::polled_events::decode_polled;
use super::signature::{random_bytes, verify_instabug};
use super::{AppId, Redaction, Secret, SelfCheckKeys};
use crate::error::Result;

/// How events came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Their sender delivered them.
    #[default]
    Webhook,
    /// They were read through the API.
    Poll,
    /// They are samples, stored to try a target.
    Test,
}

impl Via {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Poll => "poll",
            Self::Test => "test",
        }
    }
}

/// The keys that verify deliveries: the key in Bugfender's path, and the secrets of Instabug's signatures.
pub struct DeliveryKeys {
    comparison: hmac::Key,
    bugfender: hmac::Tag,
    former: Vec<(hmac::Tag, Timestamp)>,
    instabug: Vec<Secret>,
    self_check: SelfCheckKeys,
}

/// Shows neither keys nor secrets.
impl fmt::Debug for DeliveryKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryKeys").field("instabug", &self.instabug.len()).finish_non_exhaustive()
    }
}

/// Proof that a request was verified, which only [`DeliveryKeys`] creates.
#[derive(Debug)]
pub struct Verified {
    sender: Sender,
    former_key_until: Option<Timestamp>,
}

impl Verified {
    /// The sender of the request.
    pub fn sender(&self) -> Sender {
        self.sender
    }

    /// Until when the key is accepted, if the request has a former key.
    pub fn former_key_until(&self) -> Option<Timestamp> {
        self.former_key_until
    }
}

impl DeliveryKeys {
    /// Keys with these secrets of Instabug: several during a rotation, none to reject all its deliveries.
    ///
    /// # Errors
    /// When the system provides no random numbers.
    pub fn new(key: &Secret, instabug: Vec<Secret>) -> Result<Self> {
        let comparison = hmac::Key::new(hmac::HMAC_SHA256, &random_bytes::<32>()?);
        let bugfender = hmac::sign(&comparison, key.expose().as_bytes());
        Ok(Self { comparison, bugfender, former: Vec::new(), instabug, self_check: SelfCheckKeys::of(key) })
    }

    /// The same keys with former keys, each accepted until its expiry.
    #[must_use]
    pub fn with_former_keys(mut self, keys: &[(Secret, Timestamp)]) -> Self {
        let tag = |key: &Secret| hmac::sign(&self.comparison, key.expose().as_bytes());
        self.former = keys.iter().map(|(key, until)| (tag(key), *until)).collect();
        self.self_check = self.self_check.with_former(keys);
        self
    }

    /// Verifies a request to `/bugfender/{key}`. Compares in constant time.
    pub fn verify_bugfender(&self, key: &str) -> Option<Verified> {
        let matches = |tag: &hmac::Tag| hmac::verify(&self.comparison, key.as_bytes(), tag.as_ref()).is_ok();
        let current = matches(&self.bugfender);
        let former = self.former.iter().filter(|(tag, until)| matches(tag) && Timestamp::now() < *until);
        let former_key_until = former.map(|(_, until)| *until).max();
        (current || former_key_until.is_some()).then_some(Verified { sender: Sender::Bugfender, former_key_until })
    }

    /// The keys by which receivers recognise their own requests.
    pub fn self_check(&self) -> &SelfCheckKeys {
        &self.self_check
    }

    /// Whether deliveries from Instabug can be verified.
    pub fn knows_instabug(&self) -> bool {
        !self.instabug.is_empty()
    }

    /// Verifies a request to `/luciq` or `/instabug`: there must be a signature, and each must be that of one of the
    /// secrets. All secrets are tried.
    pub fn verify_instabug_signatures(&self, signatures: &[&str], body: &[u8]) -> Option<Verified> {
        let is_valid = |signature: &&str| {
            self.instabug.iter().filter(|secret| verify_instabug(secret, body, signature)).count() > 0
        };
        let is_verified = !signatures.is_empty() && signatures.iter().all(is_valid);
        is_verified.then_some(Verified { sender: Sender::Instabug, former_key_until: None })
    }
}

/// A verified delivery and its events.
#[derive(Debug, Clone)]
pub struct Delivery {
    sender: Sender,
    via: Via,
    received_at: Timestamp,
    content_type: Option<String>,
    body: Vec<u8>,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Events(Vec<EventFacts>),
    Malformed(Malformed),
}

impl Delivery {
    /// Parses the body of a verified request.
    ///
    /// A malformed body is a delivery too, which is quarantined, so that nothing is lost. With a redaction its body is
    /// not stored, as the personal data in it cannot be located.
    pub fn read(
        verified: &Verified,
        received_at: Timestamp,
        content_type: Option<String>,
        body: Vec<u8>,
        redaction: Option<&Redaction>,
    ) -> Self {
        let sender = verified.sender;
        let (body, content) = match (event::decode(sender, &body), redaction) {
            (Ok(events), None) => (body, Content::Events(events)),
            (Ok(events), Some(redaction)) => {
                let (body, events) = redaction.apply(&body, events);
                (body, Content::Events(events))
            }
            (Err(malformed), None) => (body, Content::Malformed(malformed)),
            (Err(malformed), Some(_)) => (Vec::new(), Content::Malformed(malformed)),
        };
        Self { sender, via: Via::Webhook, received_at, content_type, body, content }
    }

    /// Events of one app that were read through Bugfender's API, whose answers are authenticated by its certificate: `body` is
    /// a JSON array of the objects as they came, with ids as webhooks write them. What they do not say of their app is known
    /// from the request. Its number is all that they are compared by, as webhooks may say more of it, or less.
    ///
    /// # Errors
    /// When one of them is no event.
    pub fn polled(
        app: AppId,
        received_at: Timestamp,
        body: Vec<u8>,
        redaction: Option<&Redaction>,
    ) -> std::result::Result<Self, Malformed> {
        let mut facts = decode_polled(&body)?;
        for event in &mut facts {
            event.app_id = event.app_id.or(Some(app.get()));
            event.app = None;
        }
        let (body, facts) = match redaction {
            Some(redaction) => redaction.apply(&body, facts),
            None => (body, facts),
        };
        let content_type = Some("application/json".to_owned());
        Ok(Self {
            sender: Sender::Bugfender,
            via: Via::Poll,
            received_at,
            content_type,
            body,
            content: Content::Events(facts),
        })
    }

    /// A delivery that was verified when it was received, and quarantined as its body could not be read then.
    ///
    /// # Errors
    /// When it still cannot be read.
    pub fn reread(
        sender: Sender,
        received_at: Timestamp,
        content_type: Option<String>,
        body: Vec<u8>,
    ) -> std::result::Result<Self, Malformed> {
        let content = Content::Events(event::decode(sender, &body)?);
        Ok(Self { sender, via: Via::Webhook, received_at, content_type, body, content })
    }

    /// Sample events in the form of Bugfender's, to try a target with.
    ///
    /// # Errors
    /// When one of them is no event.
    pub fn test(received_at: Timestamp, body: Vec<u8>) -> std::result::Result<Self, Malformed> {
        let content = Content::Events(event::decode(Sender::Bugfender, &body)?);
        let content_type = Some("application/json".to_owned());
        Ok(Self { sender: Sender::Bugfender, via: Via::Test, received_at, content_type, body, content })
    }

    /// A verified request whose body is quarantined for this reason.
    pub fn unreadable(
        verified: &Verified,
        received_at: Timestamp,
        content_type: Option<String>,
        body: Vec<u8>,
        reason: &str,
    ) -> Self {
        let content = Content::Malformed(Malformed::new(reason));
        Self { sender: verified.sender, via: Via::Webhook, received_at, content_type, body, content }
    }

    /// The sender.
    pub fn sender(&self) -> Sender {
        self.sender
    }

    /// How it came.
    pub fn via(&self) -> Via {
        self.via
    }

    /// When it was received.
    pub fn received_at(&self) -> Timestamp {
        self.received_at
    }

    /// The `Content-Type` of the request.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// Takes the body out, for whoever stores it: the exact bytes, unless something was redacted.
    pub fn take_body(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.body)
    }

    /// Its events, in their order.
    pub fn events(&self) -> &[EventFacts] {
        match &self.content {
            Content::Events(events) => events,
            Content::Malformed(_) => &[],
        }
    }

    /// Why the body is malformed, if it is.
    pub fn malformed(&self) -> Option<&Malformed> {
        match &self.content {
            Content::Events(_) => None,
            Content::Malformed(malformed) => Some(malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::signature::sign_instabug;

    fn secret(text: &str) -> Secret {
        Secret::parse("the secret", text).unwrap()
    }

    #[test]
    fn only_the_key_and_the_secrets_are_accepted() {
        let keys = DeliveryKeys::new(&secret("k3y"), vec![secret("old"), secret("new")]).unwrap();
        assert!(keys.verify_bugfender("k3y").is_some());
        for wrong in ["", "k3", "k3y ", "K3Y", "k3yy"] {
            assert!(keys.verify_bugfender(wrong).is_none(), "{wrong}");
        }
        for valid in ["old", "new"] {
            assert!(keys.verify_instabug_signatures(&[&sign_instabug(&secret(valid), b"{}")], b"{}").is_some());
        }
        assert!(keys.verify_instabug_signatures(&[&sign_instabug(&secret("k3y"), b"{}")], b"{}").is_none());
        assert!(keys.verify_instabug_signatures(&[&sign_instabug(&secret("old"), b"{}")], b"{} ").is_none());
        assert!(keys.verify_instabug_signatures(&[], b"{}").is_none());
        let in_time = Timestamp::now() + jiff::SignedDuration::from_hours(1);
        let former = [(secret("0ld"), in_time), (secret("0ver"), Timestamp::now())];
        let keys = keys.with_former_keys(&former);
        let accepted =
            ["k3y", "0ld", "0ver", "0l"].map(|key| keys.verify_bugfender(key).map(|it| it.former_key_until()));
        assert_eq!(accepted, [Some(None), Some(Some(in_time)), None, None]);
        let without_secrets = DeliveryKeys::new(&secret("k3y"), Vec::new()).unwrap();
        assert!(without_secrets.verify_instabug_signatures(&[&sign_instabug(&secret("old"), b"{}")], b"{}").is_none());
        assert!(!format!("{keys:?}").contains("k3y"));
    }
}

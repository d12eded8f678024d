//! Deliveries at the trust boundary: only what was verified becomes one, and only that is stored.

use std::fmt;

use jiff::Timestamp;
use ring::hmac;

use super::event::{self, EventFacts, Malformed, Sender};
use super::signature::{random_bytes, verify_instabug};
use super::{Redaction, Secret};
use crate::error::Result;

/// Who may deliver: whoever knows the key in Bugfender's path, and whoever signs as Instabug does.
pub struct DeliveryKeys {
    comparison: hmac::Key,
    bugfender: hmac::Tag,
    former: Vec<(hmac::Tag, Timestamp)>,
    instabug: Vec<Secret>,
}

/// Not the key, not the secrets.
impl fmt::Debug for DeliveryKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("instabug", &self.instabug.len()).finish_non_exhaustive()
    }
}

/// Proof that a call was verified. Only a [`DeliveryKeys`] makes one.
#[derive(Debug)]
pub struct Verified {
    sender: Sender,
    former_key_until: Option<Timestamp>,
}

impl Verified {
    /// Whose call it was.
    pub fn sender(&self) -> Sender {
        self.sender
    }

    /// Until when such a call is taken, if it came with a former key.
    pub fn former_key_until(&self) -> Option<Timestamp> {
        self.former_key_until
    }
}

impl DeliveryKeys {
    /// A gate for this key and these secrets of Instabug: several while one is being replaced, none to take nothing.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new(key: &Secret, instabug: Vec<Secret>) -> Result<Self> {
        let comparison = hmac::Key::new(hmac::HMAC_SHA256, &random_bytes::<32>()?);
        let bugfender = hmac::sign(&comparison, key.expose().as_bytes());
        Ok(Self { comparison, bugfender, former: Vec::new(), instabug })
    }

    /// The same gate, which takes these keys too, each until its time is over.
    #[must_use]
    pub fn with_former_keys(mut self, keys: &[(Secret, Timestamp)]) -> Self {
        let tag = |key: &Secret| hmac::sign(&self.comparison, key.expose().as_bytes());
        self.former = keys.iter().map(|(key, until)| (tag(key), *until)).collect();
        self
    }

    /// Lets a call to `/bugfender/{key}` in if that is the key. Takes the same time whatever is wrong with it.
    pub fn verify_bugfender(&self, key: &str) -> Option<Verified> {
        let is = |tag: &hmac::Tag| hmac::verify(&self.comparison, key.as_bytes(), tag.as_ref()).is_ok();
        let current = is(&self.bugfender);
        let former = self.former.iter().filter(|(tag, until)| is(tag) && Timestamp::now() < *until);
        let former_key_until = former.map(|(_, until)| *until).max();
        (current || former_key_until.is_some()).then_some(Verified { sender: Sender::Bugfender, former_key_until })
    }

    /// Whether Instabug may deliver at all.
    pub fn knows_instabug(&self) -> bool {
        !self.instabug.is_empty()
    }

    /// Lets a call to `/instabug` in if its signature was made with one of the secrets. All are tried.
    pub fn verify_instabug_signature(&self, signature: Option<&str>, body: &[u8]) -> Option<Verified> {
        let signature = signature?;
        let good = self.instabug.iter().filter(|secret| verify_instabug(secret, body, signature)).count();
        (good > 0).then_some(Verified { sender: Sender::Instabug, former_key_until: None })
    }
}

/// A call that was verified, with what it brought.
#[derive(Debug, Clone)]
pub struct Delivery {
    sender: Sender,
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
    /// Reads a body that was let in.
    ///
    /// What cannot be read is a delivery too: it is kept apart, so that nothing is lost. With a redaction its body is
    /// not kept, as nobody can tell where in it the personal data stands.
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
        Self { sender, received_at, content_type, body, content }
    }

    /// A body that was let in, but that is kept apart for this reason.
    pub fn unreadable(
        verified: &Verified,
        received_at: Timestamp,
        content_type: Option<String>,
        body: Vec<u8>,
        reason: &str,
    ) -> Self {
        let content = Content::Malformed(Malformed::new(reason));
        Self { sender: verified.sender, received_at, content_type, body, content }
    }

    /// Who sent it.
    pub fn sender(&self) -> Sender {
        self.sender
    }

    /// When it came.
    pub fn received_at(&self) -> Timestamp {
        self.received_at
    }

    /// What the sender says the body is.
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

    /// Why it could not be read, if so.
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
    fn only_the_key_and_the_secrets_open_the_gate() {
        let gate = DeliveryKeys::new(&secret("k3y"), vec![secret("old"), secret("new")]).unwrap();
        assert!(gate.verify_bugfender("k3y").is_some());
        for wrong in ["", "k3", "k3y ", "K3Y", "k3yy"] {
            assert!(gate.verify_bugfender(wrong).is_none(), "{wrong}");
        }
        for good in ["old", "new"] {
            assert!(gate.verify_instabug_signature(Some(&sign_instabug(&secret(good), b"{}")), b"{}").is_some());
        }
        assert!(gate.verify_instabug_signature(Some(&sign_instabug(&secret("k3y"), b"{}")), b"{}").is_none());
        assert!(gate.verify_instabug_signature(Some(&sign_instabug(&secret("old"), b"{}")), b"{} ").is_none());
        assert!(gate.verify_instabug_signature(None, b"{}").is_none());
        let in_time = Timestamp::now() + jiff::SignedDuration::from_hours(1);
        let former = [(secret("0ld"), in_time), (secret("0ver"), Timestamp::now())];
        let gate = gate.with_former_keys(&former);
        let opened = ["k3y", "0ld", "0ver", "0l"].map(|key| gate.verify_bugfender(key).map(|it| it.former_key_until()));
        assert_eq!(opened, [Some(None), Some(Some(in_time)), None, None]);
        let closed = DeliveryKeys::new(&secret("k3y"), Vec::new()).unwrap();
        assert!(closed.verify_instabug_signature(Some(&sign_instabug(&secret("old"), b"{}")), b"{}").is_none());
        assert!(!format!("{gate:?}").contains("k3y"));
    }
}

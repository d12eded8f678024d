//! Deliveries of processes that may not store them: they hand them over to the one that receives.

use jiff::Timestamp;

use super::StoreError;
use super::codec::EncodedDelivery;
use super::queue::{Route, TargetId};
use crate::domain::AppId;
use crate::domain::delivery::{Delivery, Via};
use crate::domain::event::{Malformed, Sender};

/// Which targets a delivery is forwarded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipients {
    /// None.
    Nobody,
    /// Those that the routes of the receiver name.
    Routed,
    /// This one, whatever the routes say.
    One(TargetId),
}

impl Recipients {
    /// The routes of the delivery, if they are not those of the receiver.
    pub fn own_routes(self) -> Option<Vec<Route>> {
        match self {
            Self::Nobody => Some(Vec::new()),
            Self::Routed => None,
            Self::One(target) => Some(vec![Route { target, types: Vec::new(), together: true }]),
        }
    }
}

/// A delivery of another process, which is not stored yet.
#[derive(Debug, Clone)]
pub struct HandedOver {
    /// Its number.
    pub number: i64,
    /// Who sent the events.
    pub sender: Sender,
    /// How they came.
    pub via: Via,
    /// Their app, if they were polled.
    pub app: Option<AppId>,
    /// When they were received.
    pub received_at: Timestamp,
    /// What the sender said the body was.
    pub content_type: Option<String>,
    /// The number that the delivery has in quarantine, if it was read again.
    pub quarantined: Option<i64>,
    /// Which targets they are forwarded to.
    pub recipients: Recipients,
    /// The body.
    pub body: Vec<u8>,
}

impl HandedOver {
    /// What is handed over of a delivery.
    pub fn of(mut delivery: Delivery, quarantined: Option<i64>, recipients: Recipients) -> Self {
        let body = delivery.take_body();
        let app = delivery.events().first().and_then(|event| event.app_id).and_then(AppId::new);
        Self {
            number: 0,
            sender: delivery.sender(),
            via: delivery.via(),
            app: app.filter(|_| delivery.via() == Via::Poll),
            received_at: delivery.received_at(),
            content_type: delivery.content_type().map(str::to_owned),
            quarantined,
            recipients,
            body,
        }
    }

    /// The delivery, ready to be stored now.
    ///
    /// # Errors
    /// When it cannot be read, as by a process of another version.
    pub fn encode(self, now: Timestamp) -> Result<EncodedDelivery, Malformed> {
        let Self { sender, via, app, received_at, content_type, quarantined, body, .. } = self;
        let delivery = match (via, app) {
            (Via::Poll, Some(app)) => Delivery::polled(app, received_at, body, None)?,
            (Via::Poll, None) => return Err(Malformed::new("polled events of no app")),
            (Via::Test, _) => Delivery::test(received_at, body)?,
            (Via::Webhook, _) => Delivery::reread(sender, received_at, content_type, body)?,
        };
        let encoded = EncodedDelivery::encode(delivery);
        Ok(match quarantined {
            Some(number) => encoded.out_of_quarantine(number, now),
            None => encoded,
        })
    }
}

/// Where only the one receiver stores events: others hand theirs over to it. In a store that any process stores into there is
/// nothing to hand over.
pub trait HandOver: Send {
    /// Hands a delivery over, and returns its number; `number` is not looked at.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn hand_over(&mut self, delivery: &HandedOver) -> Result<i64, StoreError> {
        Ok(delivery.number)
    }

    /// How many events of the delivery with this number were new, once it is done with. It is forgotten then.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    fn take_receipt(&mut self, _number: i64) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    /// The next delivery that was handed over.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn next_handed_over(&mut self) -> Result<Option<HandedOver>, StoreError> {
        Ok(None)
    }

    /// Notes that it is done with, and how many of its events were new.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn note_taken(&mut self, _number: i64, _stored: u64) -> Result<(), StoreError> {
        Ok(())
    }
}

//! Tests of the writer.

use super::super::limits::{Budgets, Limits};
use super::*;
use crate::domain::Secret;
use crate::domain::delivery::{Delivery, DeliveryKeys};

fn delivery() -> EncodedDelivery {
    let key = "a-key-of-the-receiver-0123456789";
    let delivery_keys = DeliveryKeys::new(&Secret::parse("the key", key).unwrap(), Vec::new()).unwrap();
    let verified = delivery_keys.verify_bugfender(key).unwrap();
    EncodedDelivery::encode(Delivery::read(&verified, Timestamp::now(), None, b"[]".to_vec(), None))
}

#[tokio::test]
async fn what_was_brought_is_stored_when_its_bringer_has_gone() {
    let (worker, mut queue) = Worker::idle(1);
    let writer = Writer { intake: worker.clone(), worker };
    for _ in 0..2 {
        // The second finds no room, and waits for it.
        let gone =
            tokio::time::timeout(Duration::from_millis(1), writer.deliver(delivery(), DeliveryMemory::default())).await;
        assert!(gone.is_err());
    }
    for _ in 0..2 {
        let job = tokio::time::timeout(QUEUE_TIMEOUT, queue.recv()).await;
        assert!(matches!(job, Ok(Some(Job::Deliver(..)))));
    }
}

#[tokio::test]
async fn a_body_that_waits_holds_its_memory_when_its_bringer_has_gone() {
    let limits = Limits { max_body: 1, ..Limits::default() };
    let budget = Budgets::new(&limits).unverified;
    let all = 64 * 1024 * 1024;
    let (worker, mut queue) = Worker::idle(1);
    let writer = Writer { intake: worker.clone(), worker };
    let mut permit = MemoryPermit::default();
    permit.grow(&budget, all).unwrap();
    let gone =
        tokio::time::timeout(Duration::from_millis(1), writer.deliver(delivery(), [permit, MemoryPermit::default()]))
            .await;
    assert!(gone.is_err());
    assert!(MemoryPermit::default().grow(&budget, 1).is_none());
    drop(queue.recv().await);
    assert!(MemoryPermit::default().grow(&budget, all).is_some());
}

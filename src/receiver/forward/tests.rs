//! Forwarding step by step, on a real inbox and a clock of the test's own: nothing here waits.

use std::sync::Mutex;

use jiff::Timestamp;

use super::*;
use crate::domain::Secret;
use crate::domain::delivery::{Delivery, DeliveryKeys};
use crate::error::{Error, Result};
use crate::receiver::forward::response::{TargetAnswer, TargetResponse};
use crate::receiver::metrics::InboxSnapshot;
use crate::receiver::outcomes::{ForwardOutcome, OutcomeFeed};
use crate::store::sqlite::SqliteStore;
use crate::store::{
    Backlog, EncodedDelivery, EventSelection, Forward, Leased, ReceiverInbox, Route, Settled, Settlement, Store,
    TargetName,
};

/// An inbox without a thread of its own, whose writes can be made to fail.
#[derive(Clone)]
struct DirectQueue {
    inbox: Arc<Mutex<Box<dyn ReceiverInbox>>>,
    fails: Arc<Mutex<bool>>,
}

impl DirectQueue {
    fn fail(&self, fails: bool) {
        *self.fails.lock().unwrap() = fails;
    }

    fn backlog(&self) -> Backlog {
        self.inbox.lock().unwrap().backlog().unwrap()
    }
}

impl ForwardQueue for DirectQueue {
    async fn claim(
        &self,
        target: TargetId,
        request: ClaimRequest,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Vec<Leased>> {
        Ok(self.inbox.lock().unwrap().claim(target, request, now, lease)?)
    }

    async fn renew(&self, leases: Vec<Lease>, now: Timestamp, lease: Duration) -> Result<Vec<Lease>> {
        Ok(self.inbox.lock().unwrap().renew(&leases, now, lease)?)
    }

    async fn settle(&self, settlement: Settlement) -> Result<Settled> {
        if *self.fails.lock().unwrap() {
            return Err(Error::usage("the disk is full"));
        }
        Ok(self.inbox.lock().unwrap().settle(&[settlement])?[0])
    }

    fn release(&self, lease: Lease) {
        self.inbox.lock().unwrap().release(&[lease]).unwrap();
    }

    async fn hold(&self, target: TargetId, until: Option<Timestamp>) -> Result<()> {
        Ok(self.inbox.lock().unwrap().hold(target, until)?)
    }

    async fn next_due(&self, target: TargetId, now: Timestamp) -> Result<Option<Timestamp>> {
        Ok(self.inbox.lock().unwrap().next_due(target, now)?)
    }
}

/// A target that does as it is told.
struct Scripted(Mutex<Option<FailureScope>>);

impl Deliver for Scripted {
    fn shown(&self) -> &'static str {
        "https://target"
    }

    async fn wants(&self, _: &Forward) -> Result<bool> {
        Ok(true)
    }

    async fn deliver(&self, _: &Forward) -> TargetAnswer {
        let outcome = match *self.0.lock().unwrap() {
            None => return TargetAnswer { outcome: TargetResponse::Accepted, status: Some(200), answer: Vec::new() },
            Some(scope) => TargetResponse::Failed { error: "HTTP 500".to_owned(), scope },
        };
        outcome.into()
    }
}

struct ForwarderTest {
    forwarder: Forwarder<DirectQueue, Scripted>,
    queue: DirectQueue,
    start: Moment,
    _dir: tempfile::TempDir,
}

impl ForwarderTest {
    /// A forwarder with so many events queued for its target.
    fn with(events: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut inbox = SqliteStore::at(&dir.path().join("hooks.db")).receiver_inbox().unwrap();
        let name = TargetName { key: "x".to_owned(), shown: "https://target".to_owned() };
        let target = inbox.targets(&[name]).unwrap()[0];
        let keys = DeliveryKeys::new(&Secret::parse("the key", "a-key-of-the-receiver").unwrap(), Vec::new()).unwrap();
        let verified = keys.verify_bugfender("a-key-of-the-receiver").unwrap();
        let start = Moment::of(Instant::now(), Timestamp::now());
        for id in 0..events {
            let body = format!(r#"[{{"id":{id}}}]"#).into_bytes();
            let delivery = EncodedDelivery::encode(Delivery::read(&verified, start.time, None, body, None));
            inbox.commit(&[delivery], &[Route { target, types: Vec::new(), together: true }]).unwrap();
        }
        let queue = DirectQueue { inbox: Arc::new(Mutex::new(inbox)), fails: Arc::default() };
        let shared = (Arc::new(Metrics::default()), InFlight::default(), Clock::start(None));
        let scripted = Scripted(Mutex::default());
        let forwarder = Forwarder::new(scripted, target, Policy::default(), queue.clone(), shared);
        Self { forwarder, queue, start, _dir: dir }
    }

    fn answer(&self, scope: Option<FailureScope>) {
        *self.forwarder.target.0.lock().unwrap() = scope;
    }

    fn after(&self, seconds: u64) -> Moment {
        let duration = Duration::from_secs(seconds);
        Moment::of(self.start.instant + duration, self.start.time + duration)
    }

    async fn claim(&mut self, seconds: u64) -> Vec<Attempt<DirectQueue, Scripted>> {
        let now = self.after(seconds);
        self.forwarder.step(now, 0).await.attempts
    }

    /// Makes attempts; returns how many there were.
    async fn make(&mut self, attempts: Vec<Attempt<DirectQueue, Scripted>>, seconds: u64) -> usize {
        let (count, now) = (attempts.len(), self.after(seconds));
        for attempt in attempts {
            let ended = attempt.make(|| now).await;
            self.forwarder.ended(ended, now);
        }
        count
    }

    async fn step(&mut self, seconds: u64) -> usize {
        let attempts = self.claim(seconds).await;
        self.make(attempts, seconds).await
    }
}

#[tokio::test]
async fn all_that_is_queued_is_forwarded_step_by_step() {
    let mut stage = ForwarderTest::with(20);
    let mut steps = Vec::new();
    while stage.queue.backlog().pending > 0 {
        steps.push(stage.step(0).await);
    }
    assert_eq!(steps, [8, 8, 4]);
    assert!(stage.step(0).await == 0 && stage.forwarder.leases.is_empty());
}

#[tokio::test]
async fn a_failing_target_is_paused_and_recovers() {
    let mut stage = ForwarderTest::with(20);
    stage.answer(Some(FailureScope::Target { pause: None, reached: true }));
    assert_eq!(stage.step(0).await, 8);
    assert_eq!(stage.step(0).await, 0);
    // At the latest after the longest first pause one attempt is made, with the newest event.
    assert_eq!(stage.step(5).await, 1);
    assert_eq!(stage.step(5).await, 0);
    stage.answer(None);
    assert_eq!(stage.step(100).await, 1);
    assert!(stage.step(100).await > 1);
    let mut seconds = 100;
    while stage.queue.backlog().pending > 0 {
        seconds += 100;
        stage.step(seconds).await;
        assert!(seconds < 10_000);
    }
    assert_eq!(stage.queue.backlog().dead, 0);
}

#[tokio::test]
async fn what_fails_past_its_time_is_dead_lettered_and_a_target_that_is_gone_gets_nothing_more() {
    let mut stage = ForwarderTest::with(2);
    stage.answer(Some(FailureScope::Event));
    assert_eq!(stage.step(0).await, 2);
    let late = 73 * 3600;
    assert_eq!(stage.step(late).await, 2);
    assert_eq!((stage.queue.backlog().pending, stage.queue.backlog().dead), (0, 2));
    let now = stage.after(late);
    stage.queue.inbox.lock().unwrap().requeue(&EventSelection::default(), now.time).unwrap();
    stage.answer(Some(FailureScope::Gone));
    assert_eq!((stage.step(late).await, stage.step(late + 5000).await), (2, 0));
    assert_eq!(stage.queue.backlog().pending, 2);
}

#[tokio::test]
async fn an_outcome_that_cannot_be_recorded_is_recorded_later() {
    let mut stage = ForwarderTest::with(1);
    stage.queue.fail(true);
    assert_eq!(stage.step(0).await, 1);
    assert_eq!((stage.queue.backlog().pending, stage.forwarder.in_flight.get()), (1, 1));
    // It is not tried again meanwhile, however long that takes: its lease is renewed.
    for seconds in (1..300).step_by(15) {
        assert_eq!(stage.step(seconds).await, 0);
    }
    stage.queue.fail(false);
    assert_eq!(stage.step(302).await, 0);
    assert_eq!((stage.queue.backlog().pending, stage.forwarder.in_flight.get()), (0, 0));
}

#[tokio::test]
async fn a_lease_lasts_while_it_is_renewed_and_a_lost_one_records_nothing() {
    let mut stage = ForwarderTest::with(1);
    let attempts = stage.claim(0).await;
    for seconds in (15..300).step_by(15) {
        let now = stage.after(seconds);
        assert!(stage.forwarder.step(now, 1).await.attempts.is_empty());
    }
    // Nobody renewed it for longer than it lasts, and another receiver has claimed it.
    let late = stage.after(300 + LEASE.as_secs());
    let (target, request) = (stage.forwarder.id, ClaimRequest::up_to(1));
    let others = stage.queue.claim(target, request, late.time, LEASE).await.unwrap();
    assert_eq!((attempts.len(), others.len()), (1, 1));
    assert!(stage.forwarder.step(late, 1).await.attempts.is_empty() && stage.forwarder.leases.is_empty());
    stage.answer(Some(FailureScope::Event));
    stage.make(attempts, 400).await;
    let delivered = crate::store::AttemptOutcome::Delivered;
    let settlement = Settlement {
        lease: others[0].lease(),
        at: late.time,
        outcome: delivered,
        report: crate::store::AttemptReport::default(),
    };
    assert_eq!(stage.queue.settle(settlement).await.unwrap(), Settled::Recorded);
    assert_eq!(stage.queue.backlog().pending, 0);
    let mut forwarded = Vec::new();
    let page = crate::store::EventPage::default();
    let each = &mut |event: crate::store::EventRecord| {
        forwarded.push((event.attempts, event.error));
        true
    };
    stage.queue.inbox.lock().unwrap().events(&EventSelection::default(), page, each).unwrap();
    assert_eq!(forwarded, [(1, None)]);
}

#[tokio::test]
async fn an_attempt_that_is_never_made_gives_its_lease_back() {
    let mut stage = ForwarderTest::with(1);
    drop(stage.claim(0).await);
    assert_eq!(stage.step(0).await, 1);
    assert_eq!(stage.queue.backlog().pending, 0);
}

#[tokio::test]
async fn outcomes_are_told_and_a_paused_target_is_counted() {
    let mut stage = ForwarderTest::with(1);
    let (sender, feed) = OutcomeFeed::open();
    stage.forwarder = stage.forwarder.telling(Some(sender));
    let metrics = Arc::clone(&stage.forwarder.metrics);
    let paused = || {
        let text = metrics.text(&InboxSnapshot::default(), 0, Timestamp::now());
        text.contains("bugfender_hooks_target_paused{target=\"https://target\"} 1")
    };
    stage.answer(Some(FailureScope::Target { pause: Some(Duration::from_secs(30)), reached: true }));
    assert_eq!(stage.step(0).await, 1);
    assert_eq!(stage.step(1).await, 0);
    assert!(paused());
    stage.answer(None);
    assert_eq!(stage.step(31).await, 1);
    assert!(!paused());
    let (told, dropped) = feed.take();
    let outcome = ForwardOutcome {
        target: "https://target".to_owned(),
        event: ("0".to_owned(), 0),
        status: None,
        error: Some("HTTP 500".to_owned()),
        retry_after: Some(Duration::from_secs(30)),
        took: Duration::ZERO,
    };
    let accepted = ForwardOutcome { status: Some(200), error: None, retry_after: None, ..outcome.clone() };
    assert_eq!((told, dropped), (vec![outcome, accepted], 0));
}

#[tokio::test]
async fn a_clock_that_is_not_trusted_dead_letters_nothing() {
    let mut stage = ForwarderTest::with(1);
    stage.answer(Some(FailureScope::Event));
    let late = stage.after(4 * 24 * 3600);
    let doubtful = Moment { trusted: None, ..late };
    for attempt in stage.forwarder.step(doubtful, 0).await.attempts {
        let ended = attempt.make(|| doubtful).await;
        stage.forwarder.ended(ended, doubtful);
    }
    assert_eq!((stage.queue.backlog().pending, stage.queue.backlog().dead), (1, 0));
}

#[tokio::test]
async fn what_was_due_by_a_clock_that_was_ahead_is_due_when_it_is_back() {
    let mut stage = ForwarderTest::with(1);
    stage.answer(Some(FailureScope::Event));
    assert_eq!(stage.step(2 * 24 * 3600).await, 1);
    assert_eq!(stage.step(60).await, 1);
    // A wait that is possible is kept.
    assert_eq!(stage.step(60 - 3).await, 0);
}

#[tokio::test]
async fn leases_last_when_a_jump_of_the_clock_comes_to_be_believed() {
    let mut stage = ForwarderTest::with(1);
    let attempts = stage.claim(0).await;
    let jumped = Moment::of(stage.start.instant + Duration::from_secs(5), stage.after(31 * 24 * 3600).time);
    assert!(stage.forwarder.step(jumped, 1).await.attempts.is_empty());
    assert_eq!(stage.make(attempts, 6).await, 1);
    assert_eq!(stage.queue.backlog().pending, 0);
}

//! Reading bodies within limits: each one's size and time, and the memory of all together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Bytes};

use super::metrics::Rejection;

/// What bodies may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest body, in bytes.
    pub max_body: usize,
    /// How long the head of a request may take, and how long a connection may wait for the next one.
    pub header_timeout: Duration,
    /// How long a body may take.
    pub body_timeout: Duration,
    /// The most connections at once.
    pub max_connections: usize,
    /// The most deliveries in a commit.
    pub max_group: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body: 5 * 1024 * 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            max_connections: 16_384,
            max_group: 512,
        }
    }
}

/// The memory that the bodies of known senders together may take, in bytes: what is more is told to come again.
const KNOWN: usize = 256 * 1024 * 1024;

/// The same for bodies of which only their whole tells who sends them: strangers fill this one and no other.
const UNVERIFIED: usize = 64 * 1024 * 1024;

/// The most bytes to make room for before they have come.
const FIRST_ROOM: usize = 64 * 1024;

/// How much of a body that is too large is read all the same, so that its sender gets to see the answer.
const LINGER: Duration = Duration::from_secs(1);

/// The memory that is left for bodies, in bytes.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<AtomicUsize>);

impl Budget {
    fn of(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }
}

/// The memory for bodies, apart for those whose sender is known before they are read and for the others.
#[derive(Debug, Clone)]
pub(super) struct Budgets {
    pub(super) known: Budget,
    pub(super) unverified: Budget,
}

impl Budgets {
    /// Each has room for one body at least.
    pub(super) fn new(limits: &Limits) -> Self {
        Self { known: Budget::of(KNOWN.max(limits.max_body)), unverified: Budget::of(UNVERIFIED.max(limits.max_body)) }
    }
}

/// A body, and its part of the budget, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct BufferedBody {
    pub(super) bytes: Vec<u8>,
    pub(super) permit: MemoryPermit,
}

/// A part of the budget.
#[derive(Debug, Default)]
pub(super) struct MemoryPermit {
    budget: Option<Budget>,
    bytes: usize,
}

impl MemoryPermit {
    /// Holds enough for this many bytes, if there is so much.
    pub(super) fn grow(&mut self, budget: &Budget, bytes: usize) -> Option<()> {
        let missing = bytes.saturating_sub(self.bytes);
        let take = |left: usize| left.checked_sub(missing);
        budget.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        self.bytes += missing;
        self.budget.get_or_insert_with(|| budget.clone());
        Some(())
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        if let Some(Budget(left)) = &self.budget {
            left.fetch_add(self.bytes, Ordering::Relaxed);
        }
    }
}

/// Reads a body.
pub(super) async fn read<B>(
    mut body: B,
    headers: &HeaderMap,
    limits: &Limits,
    budget: &Budget,
) -> Result<BufferedBody, Rejection>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > limits.max_body as u64 {
        // Who asks before sending it has the answer at once; others are sending already.
        if !headers.contains_key(hyper::header::EXPECT) {
            discard(&mut body).await;
        }
        return Err(Rejection::TooLarge);
    }
    let reading = collect(&mut body, limits, budget);
    match tokio::time::timeout(limits.body_timeout, reading).await {
        Ok(Err(Rejection::TooLarge)) => {
            discard(&mut body).await;
            Err(Rejection::TooLarge)
        }
        Ok(outcome) => outcome,
        Err(_) => Err(Rejection::TooSlow),
    }
}

async fn collect<B>(body: &mut B, limits: &Limits, budget: &Budget) -> Result<BufferedBody, Rejection>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut permit = MemoryPermit::default();
    // What the sender says will come; a sender that lies has only what it sends.
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(0).min(FIRST_ROOM);
    let mut bytes = Vec::with_capacity(expected);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(Rejection::Broken) };
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limits.max_body {
            return Err(Rejection::TooLarge);
        }
        permit.grow(budget, bytes.len() + data.len()).ok_or(Rejection::Overload)?;
        bytes.extend_from_slice(&data);
    }
    Ok(BufferedBody { bytes, permit })
}

async fn discard<B>(body: &mut B)
where
    B: Body<Data = Bytes> + Unpin,
{
    let end = async { while let Some(Ok(_)) = body.frame().await {} };
    // Whoever sends for longer finds the connection closed.
    let _ = tokio::time::timeout(LINGER, end).await;
}

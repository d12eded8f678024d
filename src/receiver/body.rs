//! Reading bodies within limits: each one's size and time, and the memory of all together.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Bytes};

use super::limits::{Budget, Limits, MemoryPermit};
use super::rejection::Rejection;

/// The most bytes to allocate before they have arrived.
const FIRST_ROOM: usize = 64 * 1024;

/// How much of a body that is too large is read nevertheless, so that its sender sees the response.
const LINGER: Duration = Duration::from_secs(1);

/// A body and its part of the memory budget, which is released when this is dropped.
#[derive(Debug)]
pub(super) struct BufferedBody {
    pub(super) bytes: Vec<u8>,
    pub(super) permit: MemoryPermit,
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
        // A sender with `Expect: 100-continue` gets the response at once; others are sending already.
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
    // Reserves the declared length; the size limit holds for what is really sent.
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
    // A sender that sends more finds the connection closed.
    let _ = tokio::time::timeout(LINGER, end).await;
}

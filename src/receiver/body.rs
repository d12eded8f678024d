//! Reading bodies within limits: each one's size and time, and the memory of all together.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Bytes};

use super::limits::{Budget, Limits, MemoryPermit};
use super::rejection::Rejection;
use super::shares::Share;

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

/// Reads a body. Who has a share in the budget, as unknown senders do, makes room for others when they are told to.
pub(super) async fn read<B>(
    mut body: B,
    headers: &HeaderMap,
    limits: &Limits,
    (budget, share): (&Budget, Option<&Share>),
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
    let told = async {
        match share {
            Some(share) => share.told().await,
            None => std::future::pending().await,
        }
    };
    let reading = async {
        tokio::select! {
            outcome = collect(&mut body, limits, budget, share) => outcome,
            () = told => Err(Rejection::Overload),
        }
    };
    match tokio::time::timeout(limits.body_timeout, reading).await {
        Ok(Err(Rejection::TooLarge)) => {
            discard(&mut body).await;
            Err(Rejection::TooLarge)
        }
        Ok(outcome) => outcome,
        Err(_) => Err(Rejection::TooSlow),
    }
}

async fn collect<B>(
    body: &mut B,
    limits: &Limits,
    budget: &Budget,
    share: Option<&Share>,
) -> Result<BufferedBody, Rejection>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut permit = MemoryPermit::default();
    // Reserves the declared length; the size limit holds for what is really sent.
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(0);
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(Rejection::Broken) };
        let Ok(data) = frame.into_data() else { continue };
        let length = bytes.len() + data.len();
        if length > limits.max_body {
            return Err(Rejection::TooLarge);
        }
        if length > bytes.capacity() {
            let room = capacity(length, bytes.capacity(), expected).min(limits.max_body);
            let grown = match share {
                Some(share) => permit.grow_in_turn(budget, room, share).await,
                None => permit.grow(budget, room),
            };
            grown.ok_or(Rejection::Overload)?;
            bytes.reserve_exact(room - bytes.len());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(BufferedBody { bytes, permit })
}

/// The capacity for this length of a body, of which so much is expected: it doubles, but never beyond what is declared.
fn capacity(length: usize, current: usize, expected: usize) -> usize {
    let next = length.max(current * 2).max(expected.min(FIRST_ROOM));
    if expected >= length { next.min(expected) } else { next }
}

async fn discard<B>(body: &mut B)
where
    B: Body<Data = Bytes> + Unpin,
{
    let end = async { while let Some(Ok(_)) = body.frame().await {} };
    // A sender that sends more finds the connection closed.
    let _ = tokio::time::timeout(LINGER, end).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_with_what_has_arrived_and_not_beyond_what_is_declared() {
        let large = 5 * 1024 * 1024;
        assert_eq!(capacity(100, 0, 100), 100);
        assert_eq!(capacity(1000, 0, large), FIRST_ROOM);
        assert_eq!(capacity(FIRST_ROOM + 1, FIRST_ROOM, large), 2 * FIRST_ROOM);
        assert_eq!(capacity(4 * 1024 * 1024, 3 * 1024 * 1024, large), large);
        // A length that nobody declares.
        assert_eq!(capacity(1000, 0, 0), 1000);
        assert_eq!(capacity(1001, 1000, 0), 2000);
    }
}

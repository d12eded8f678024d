//! When to retry, and how long to wait before.

use std::time::Duration;

use super::{CarriedOut, Failure, HttpResponse, Repeat};

/// The maximum number of attempts, the first included.
const MAX_ATTEMPTS: u32 = 4;

/// The upper bound of the first wait; it doubles with each attempt.
const BASE_WAIT: Duration = Duration::from_millis(500);

/// The longest `Retry-After` that is honoured without a total timeout.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// The wait before the next attempt, or `None` when `outcome` of attempt number `attempt` (from 1) is final.
///
/// `left` is the time within which the next attempt must start.
pub(super) fn wait_before_next(
    repeat: Repeat,
    attempt: u32,
    outcome: &Result<HttpResponse, Failure>,
    left: Option<Duration>,
) -> Option<Duration> {
    if attempt >= MAX_ATTEMPTS || !may_repeat(repeat, outcome) {
        return None;
    }
    let asked = outcome.as_ref().ok().and_then(|response| response.retry_after);
    let wait = match asked {
        Some(asked) if left.is_none() && asked > MAX_RETRY_AFTER => return None,
        Some(asked) => asked,
        // Full jitter, so that clients that failed together do not retry together.
        None => BASE_WAIT.mul_f64(f64::from(1 << (attempt - 1)) * fastrand::f64()),
    };
    left.is_none_or(|left| wait < left).then_some(wait)
}

/// Whether the failure is transient and a retry cannot carry out the request twice.
fn may_repeat(repeat: Repeat, outcome: &Result<HttpResponse, Failure>) -> bool {
    let idempotent = repeat == Repeat::Idempotent;
    let harmless = |carried_out| idempotent || carried_out == CarriedOut::No;
    match outcome {
        _ if repeat == Repeat::Never => false,
        Err(failure) => failure.transient && harmless(failure.carried_out),
        Ok(response) => match response.status.as_u16() {
            429 | 503 => harmless(response.carried_out),
            // After a 408, too, a change is not sent again: only the two above ask for that.
            408 | 500 | 502 | 504 => idempotent,
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::StatusCode;
    use super::super::outcome::{Progress, carried_out};
    use super::*;
    use crate::error::{Error, ErrorKind};

    fn failed(carried_out: CarriedOut) -> Result<HttpResponse, Failure> {
        Err(Failure { error: Error::new(ErrorKind::Unavailable, "x"), carried_out, transient: true })
    }

    #[test]
    fn a_request_that_may_have_been_carried_out_is_not_retried() {
        let retries =
            |repeat, outcome: &Result<HttpResponse, Failure>| wait_before_next(repeat, 1, outcome, None).is_some();
        assert!(retries(Repeat::OnlyIfNotCarriedOut, &failed(CarriedOut::No)));
        assert!(!retries(Repeat::OnlyIfNotCarriedOut, &failed(CarriedOut::Maybe)));
        assert!(retries(Repeat::Idempotent, &failed(CarriedOut::Maybe)));
        let again = |repeat| {
            let outcome = |status| {
                let status = StatusCode::from_u16(status).unwrap();
                let (carried_out, body) = (carried_out(Progress::Answered(status)), Ok(Vec::new()));
                Ok(HttpResponse { status, body, retry_after: None, attempts: 1, carried_out, html: false })
            };
            (100..1000).filter(|status| retries(repeat, &outcome(*status))).collect::<Vec<_>>()
        };
        assert_eq!(again(Repeat::OnlyIfNotCarriedOut), [429, 503]);
        assert_eq!(again(Repeat::Idempotent), [408, 429, 500, 502, 503, 504]);
        assert_eq!(again(Repeat::Never), [0; 0]);
    }

    #[test]
    fn attempts_and_time_are_bounded() {
        let outcome = failed(CarriedOut::No);
        assert!(wait_before_next(Repeat::Idempotent, MAX_ATTEMPTS, &outcome, None).is_none());
        assert!(wait_before_next(Repeat::Idempotent, 1, &outcome, Some(Duration::ZERO)).is_none());
        for attempt in 1..MAX_ATTEMPTS {
            let wait = wait_before_next(Repeat::Idempotent, attempt, &outcome, None).unwrap();
            assert!(wait <= BASE_WAIT * (1 << (attempt - 1)), "{wait:?}");
        }
    }
}

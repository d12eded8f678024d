//! How fast the API is asked, and what is asked again.

use std::time::Duration;

use crate::api::PageFailure;
use crate::domain::ApiOrigin;

/// How long to wait between two pages of a list, as a published client does (seen).
const PAGE_PAUSE: Duration = Duration::from_secs(10);

/// How long to wait after 429 Too Many Requests without `Retry-After`, as the same client does (seen).
const TOO_FAST_PAUSE: Duration = Duration::from_secs(60);

/// How often a page is asked for, the first time included.
const MOST_ATTEMPTS: u32 = 6;

/// The first pause after another failure; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause that is made on request.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// How long to wait between requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollPace {
    /// Between two pages of a list.
    pub page_pause: Duration,
    /// After 429 Too Many Requests, unless the server says how long.
    pub too_fast_pause: Duration,
}

impl PollPace {
    /// What suits an installation: one on this machine is there for nobody else.
    pub fn of(origin: &ApiOrigin) -> Self {
        if origin.is_loopback() {
            Self { page_pause: Duration::ZERO, too_fast_pause: Duration::from_secs(1) }
        } else {
            Self { page_pause: PAGE_PAUSE, too_fast_pause: TOO_FAST_PAUSE }
        }
    }

    /// The pause before a request is made again, which has failed so often; `None` if it is not.
    fn pause(self, failure: &PageFailure, attempt: u32) -> Option<Duration> {
        let status = failure.failure.error.http_status();
        let passes = match status {
            Some(status) => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504) || failure.failure.transient,
            None => failure.failure.transient,
        };
        if !passes || attempt >= MOST_ATTEMPTS {
            return None;
        }
        let own = if status == Some(429) { self.too_fast_pause } else { FIRST_PAUSE * (1 << (attempt - 1)) };
        Some(failure.retry_after.unwrap_or(own)).filter(|pause| *pause <= LONGEST_PAUSE)
    }

    /// Makes a request until it has an answer, or fails in a way that does not pass.
    pub(super) async fn ask<T>(self, request: impl AsyncFn() -> Result<T, PageFailure>) -> Result<T, PageFailure> {
        let mut attempt = 1;
        loop {
            let failure = match request().await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let Some(pause) = self.pause(&failure, attempt) else { return Err(failure) };
            tracing::info!("{}; asking again in {} s", failure.failure.error, pause.as_secs_f32());
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::http::{CarriedOut, Failure};

    fn failure(status: Option<u16>, retry_after: Option<u64>, transient: bool) -> PageFailure {
        let error = Error::new(ErrorKind::Unavailable, "x");
        let error = status.into_iter().fold(error, Error::status);
        let failure = Failure { error, carried_out: CarriedOut::Maybe, transient };
        PageFailure { failure, retry_after: retry_after.map(Duration::from_secs), is_too_large: false }
    }

    #[test]
    fn pauses_are_those_that_the_server_asks_for() {
        let pace = PollPace::of(&"https://dashboard.bugfender.com".parse().unwrap());
        assert_eq!(pace.page_pause, Duration::from_secs(10));
        let seconds = |status, retry_after, attempt| {
            pace.pause(&failure(status, retry_after, false), attempt).map(|pause| pause.as_secs_f32())
        };
        assert_eq!(seconds(Some(429), None, 1), Some(60.0));
        assert_eq!(seconds(Some(429), Some(7), 5), Some(7.0));
        assert_eq!(seconds(Some(503), Some(0), 1), Some(0.0));
        assert_eq!(seconds(Some(502), None, 3), Some(2.0));
        for given_up in [(Some(429), None, 6), (Some(503), Some(3600), 1), (Some(404), None, 1), (None, None, 1)] {
            assert_eq!(seconds(given_up.0, given_up.1, given_up.2), None, "{given_up:?}");
        }
        assert!(pace.pause(&failure(None, None, true), 1).is_some());
    }
}

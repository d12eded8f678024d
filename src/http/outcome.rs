//! Whether a request may have been carried out: the one rule, which failures and responses ask.

use reqwest::StatusCode;

/// Whether a failed request may have had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarriedOut {
    /// Surely not.
    No,
    /// It may have.
    Maybe,
}

impl CarriedOut {
    /// What is known of a request that was sent before as well.
    #[must_use]
    pub fn or(self, before: Self) -> Self {
        if before == Self::Maybe { before } else { self }
    }
}

/// How far a request came.
#[derive(Debug, Clone, Copy)]
pub(super) enum Progress {
    /// There was no connection to send it over, or no time.
    NotSent,
    /// It was sent, or a part of it, and no answer came.
    NotAnswered,
    /// An answer came.
    Answered(StatusCode),
}

/// Whether a request that came so far may have been carried out.
///
/// Statuses outside of all classes count as 5xx (RFC 9110, section 15).
pub(super) fn carried_out(progress: Progress) -> CarriedOut {
    let status = match progress {
        Progress::NotSent => return CarriedOut::No,
        Progress::NotAnswered => return CarriedOut::Maybe,
        Progress::Answered(status) => status,
    };
    match status.as_u16() {
        // A success was carried out, whether or not its answer can be used. "See other" is what a server says once it has
        // done what it was asked for.
        200..=299 | 303 => CarriedOut::Maybe,
        // A server, or a proxy before it, may fail after the work; one that is overloaded says so before any.
        500.. if status != StatusCode::SERVICE_UNAVAILABLE => CarriedOut::Maybe,
        _ => CarriedOut::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_done_is_known_by_how_far_the_request_came() {
        assert_eq!(carried_out(Progress::NotSent), CarriedOut::No);
        assert_eq!(carried_out(Progress::NotAnswered), CarriedOut::Maybe);
        let table = [
            (CarriedOut::No, &[100, 101, 199][..]),
            (CarriedOut::Maybe, &[200, 201, 202, 204, 299]),
            (CarriedOut::No, &[300, 301, 302, 304, 307, 308]),
            (CarriedOut::Maybe, &[303]),
            (CarriedOut::No, &[400, 401, 403, 404, 408, 409, 422, 425, 429, 451, 499]),
            (CarriedOut::Maybe, &[500, 501, 502, 504, 505, 507, 520, 524, 529, 599, 600, 999]),
            (CarriedOut::No, &[503]),
        ];
        for (expected, statuses) in table {
            for status in statuses {
                let status = StatusCode::from_u16(*status).unwrap();
                assert_eq!(carried_out(Progress::Answered(status)), expected, "{status}");
            }
        }
    }

    #[test]
    fn a_doubt_stays_whatever_comes_after_it() {
        assert_eq!(CarriedOut::No.or(CarriedOut::Maybe), CarriedOut::Maybe);
        assert_eq!(CarriedOut::Maybe.or(CarriedOut::No), CarriedOut::Maybe);
        assert_eq!(CarriedOut::No.or(CarriedOut::No), CarriedOut::No);
    }
}

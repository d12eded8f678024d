//! Why a request is rejected, and the response to it.

use hyper::StatusCode;

use super::response::{self, FullResponse};

/// Why a request is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// Its address is not allowed.
    Address,
    /// The path is for operators, and asked for under a name that is not known.
    Host,
    /// Nothing is at that path, or the key is wrong.
    Path,
    /// The method is not POST.
    Method,
    /// The signature is missing or wrong.
    Signature,
    /// The body is too large.
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
    /// The connection ended within the body.
    Broken,
    /// The body is compressed.
    Encoding,
    /// The body is not a delivery of this sender.
    Malformed,
    /// The delivery could not be stored.
    Store,
    /// The receiver is overloaded.
    Overload,
}

impl Rejection {
    /// All reasons.
    pub(super) const ALL: [Self; 12] = [
        Self::Address,
        Self::Host,
        Self::Path,
        Self::Method,
        Self::Signature,
        Self::TooLarge,
        Self::TooSlow,
        Self::Broken,
        Self::Encoding,
        Self::Malformed,
        Self::Store,
        Self::Overload,
    ];

    /// Its name in metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Host => "host",
            Self::Path => "path",
            Self::Method => "method",
            Self::Signature => "signature",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::Broken => "broken",
            Self::Encoding => "encoding",
            Self::Malformed => "malformed",
            Self::Store => "store",
            Self::Overload => "overload",
        }
    }

    /// The response to its sender.
    pub(super) fn response(self) -> FullResponse {
        match self {
            Self::Address => response::error(StatusCode::FORBIDDEN, "requests from this address are not accepted"),
            Self::Host => response::error(
                StatusCode::MISDIRECTED_REQUEST,
                "this name of the receiver is not known to it: use its IP address, or start it with --admin-host NAME",
            ),
            Self::Path => response::not_found(),
            Self::Method => response::wrong_method("POST"),
            Self::Signature => response::error(StatusCode::UNAUTHORIZED, "the signature is missing or wrong"),
            Self::TooLarge => {
                response::and_close(response::error(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"))
            }
            Self::TooSlow => {
                response::and_close(response::error(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))
            }
            Self::Broken | Self::Malformed => {
                response::and_close(response::error(StatusCode::BAD_REQUEST, "the body is broken"))
            }
            Self::Encoding => response::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a compressed body is not accepted"),
            Self::Store => response::unavailable("the delivery could not be stored"),
            Self::Overload => response::and_close(response::unavailable("the receiver is overloaded")),
        }
    }
}

//! Redirects. Only those to the same origin and the same path, apart from a trailing slash, are followed.
//!
//! Method and body are kept. Any other redirect could send a credential or a change to an unintended server.

use reqwest::header::LOCATION;
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::outcome::{Progress, carried_out};
use super::{CarriedOut, Failure, Peer};
use crate::domain::{ShownTarget, excerpt};
use crate::error::{Error, ErrorKind};

/// The maximum number of redirects followed in one attempt.
pub(super) const MAX_HOPS: usize = 3;

/// Whether a status is a redirect.
pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads, if it may be followed.
///
/// A 303 ("See Other") means that the request was carried out, so only a GET is sent again after it.
pub(super) fn target(from: &Url, response: &Response, method: &Method, peer: Peer) -> Result<Url, Failure> {
    let status = response.status();
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let to = location.and_then(|location| from.join(location).ok());
    let harmless = method == Method::GET || carried_out(Progress::Answered(status)) == CarriedOut::No;
    match to {
        Some(to) if is_same_resource(from, &to) && harmless => Ok(to),
        to => Err(refused(status, to.as_ref(), peer)),
    }
}

fn is_same_resource(from: &Url, to: &Url) -> bool {
    let path = |url: &Url| url.path().trim_end_matches('/').to_owned();
    let userinfo = |url: &Url| !url.username().is_empty() || url.password().is_some();
    from.origin() == to.origin() && path(from) == path(to) && from.query() == to.query() && !userinfo(to)
}

fn refused(status: StatusCode, to: Option<&Url>, peer: Peer) -> Failure {
    // Without user name, password and query, which may be secret. So may the path of an endpoint.
    let destination = to.map(|to| match peer {
        Peer::Api => excerpt(&format!("{}{}", ShownTarget::of(to), to.path()), 200),
        Peer::Endpoint | Peer::PublicUrl => excerpt(&format!("{}/…", ShownTarget::of(to)), 200),
    });
    let destination = destination.as_deref().unwrap_or("an invalid URL");
    let code = status.as_u16();
    let error = Error::new(
        ErrorKind::Other,
        format!("the server redirects to {destination} (HTTP {code}), which is not followed"),
    )
    .hint(match peer {
        Peer::Api => "check --api-url: it must be the origin of the Bugfender installation itself",
        Peer::Endpoint => "use the URL that it redirects to; senders of webhooks may not follow redirects",
        Peer::PublicUrl => {
            "give the URL that it redirects to with --public-url; senders of webhooks may not follow redirects"
        }
    })
    .status(code);
    Failure { error, carried_out: carried_out(Progress::Answered(status)), transient: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_slash_may_differ() {
        let same = |from: &str, to: &str| is_same_resource(&from.parse().unwrap(), &to.parse().unwrap());
        assert!(same("https://a.example/api/x", "https://a.example/api/x/"));
        assert!(same("https://a.example/api/x/", "https://a.example:443/api/x"));
        for to in [
            "http://a.example/api/x",
            "https://b.example/api/x",
            "https://a.example:444/api/x",
            "https://a.example/api/y",
            "https://a.example/api/x?next=1",
            "https://u:p@a.example/api/x",
        ] {
            assert!(!same("https://a.example/api/x", to), "{to}");
        }
    }
}

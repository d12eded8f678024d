//! What an error of sending a request says to people, and what is known of the request's effect.

use std::error::Error as StdError;
use std::io;

use url::Url;

use super::outcome::{Progress, carried_out};
use super::{ClientOptions, Failure, Peer, shown};
use crate::error::{Error, ErrorKind};

/// The time was over before a request was sent: nothing is left in doubt by it.
pub(super) fn no_time_left(url: &Url) -> Failure {
    let error = Error::new(ErrorKind::Unavailable, format!("{}: the time allowed is over", shown(url)))
        .hint("give it more time with --timeout");
    Failure { transient: true, ..Failure::not_sent(error) }
}

/// What an error of sending a request says, and what is known of its effect. The cause is kept without the URL, which
/// may hold a secret.
pub(super) fn transport_failure(url: &Url, error: reqwest::Error, options: &ClientOptions) -> Failure {
    let before_sending = error.is_connect() || error.is_builder();
    let tls = tls_error(&error);
    let is_authority = tls.is_some_and(is_authority);
    let proxy = if error.is_connect() && tls.is_none() { options.proxy_of(url) } else { None };
    let through = proxy.as_deref().map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
    let what = match (error.is_timeout(), before_sending) {
        (true, true) => format!("no connection{through} within the time allowed"),
        (true, false) => "no answer within the time allowed".to_owned(),
        (false, true) if is_authority => "no connection: the server shows the certificate of an authority".to_owned(),
        (false, true) => format!("no connection{through}: {}", root_cause(&error)),
        (false, false) => format!("the connection broke before an answer: {}", root_cause(&error)),
    };
    let hint = match tls {
        Some(_) if is_authority => {
            "give the server a certificate of its own, without CA:TRUE in it, which that authority may sign"
        }
        Some(rustls::Error::InvalidCertificate(_)) => {
            "if a company certificate authority signs the server, name its PEM file with --ca-file or in SSL_CERT_FILE"
        }
        Some(_) => "the server must speak TLS 1.2 or newer; check the URL",
        None if proxy.is_some() => {
            "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY, which say where requests go through a proxy"
        }
        None if options.peer == Peer::Endpoint => "check the URL, and that the receiver is running",
        None => "check the network and --api-url; `bugfender-hooks doctor` tries the connection",
    };
    let transient = tls.is_none();
    let error =
        Error::new(ErrorKind::Unavailable, format!("{}: {what}", shown(url))).hint(hint).source(error.without_url());
    let progress = if before_sending { Progress::NotSent } else { Progress::NotAnswered };
    Failure { error, carried_out: carried_out(progress), transient }
}

/// Whether the server shows a certificate that is for signing others, as the usual recipe for a self-signed one makes it.
fn is_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(rustls::CertificateError::Other(rustls::OtherError(other))) = error else {
        return false;
    };
    matches!(other.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// What the handshake failed over, if it did, which no repetition changes.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(error);
    }
    // An I/O error shows the source of what it wraps, not what it wraps.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match wrapped {
        Some(inner) => tls_error(inner),
        None => error.source().and_then(tls_error),
    }
}

/// The innermost cause of an error, which is the one that says something.
pub(super) fn root_cause(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    crate::domain::excerpt(&cause.to_string(), 200)
}

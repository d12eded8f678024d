//! Transport failures: their messages and hints, and whether the request may have been carried out.

use std::error::Error as StdError;
use std::io;

use rustls::CertificateError;
use url::Url;

use super::loopback::NotLoopback;
use super::outcome::{Progress, carried_out};
use super::{ClientOptions, Failure, Peer, shown};
use crate::error::{Error, ErrorKind};

/// The total timeout passed before the request was sent, so it was certainly not carried out.
pub(super) fn no_time_left(url: &Url) -> Failure {
    let error = Error::new(ErrorKind::Unavailable, format!("{}: timed out before the request was sent", shown(url)))
        .hint("set a longer --timeout");
    Failure { transient: true, ..Failure::not_sent(error) }
}

/// The failure for an error of reqwest. The cause is kept without the URL, which may contain a secret.
pub(super) fn transport_failure(url: &Url, error: reqwest::Error, options: &ClientOptions) -> Failure {
    if let Some(other) = cause::<NotLoopback>(&error) {
        let message = format!("{}: {other}, and plain http would expose the token to the network", shown(url));
        let hint = "use https, or pass --allow-http if you trust the network";
        return Failure::not_sent(Error::usage(message).hint(hint).source(error.without_url()));
    }
    let before_sending = error.is_connect() || error.is_builder();
    let tls = cause::<rustls::Error>(&error);
    let is_authority = tls.is_some_and(is_authority);
    let proxy = if error.is_connect() && tls.is_none() { options.proxy_of(url) } else { None };
    let through = proxy.as_deref().map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
    let what = match (error.is_timeout(), before_sending) {
        (true, true) => format!("timed out while connecting{through}"),
        (true, false) => "timed out waiting for a response".to_owned(),
        (false, true) if is_authority => {
            "could not connect: the server presented a CA certificate as its own".to_owned()
        }
        (false, true) => format!("could not connect{through}: {}", root_cause(&error)),
        (false, false) => format!("the connection was lost before a response: {}", root_cause(&error)),
    };
    let hint = match tls {
        Some(_) if is_authority => "issue the server its own certificate without CA:TRUE; that authority can sign it",
        Some(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "renew the certificate of the server, and check the clock of this machine",
        Some(rustls::Error::InvalidCertificate(_)) => {
            "if the certificate is signed by a private certificate authority, pass its PEM file with --ca-file or SSL_CERT_FILE"
        }
        Some(_) => "the server must speak TLS 1.2 or newer; check the URL",
        None if proxy.is_some() => "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY, which decide what goes through a proxy",
        None if options.peer == Peer::Endpoint => "check the URL, and that the receiver is running",
        None if options.peer == Peer::PublicUrl => {
            "check the name in DNS, and that the proxy or tunnel in front of this receiver runs"
        }
        None => "check the network and --api-url; `bugfender-hooks doctor` tests the connection",
    };
    // A handshake that failed would fail again.
    let transient = tls.is_none();
    let error =
        Error::new(ErrorKind::Unavailable, format!("{}: {what}", shown(url))).hint(hint).source(error.without_url());
    let progress = if before_sending { Progress::NotSent } else { Progress::NotAnswered };
    Failure { error, carried_out: carried_out(progress), transient }
}

/// Whether the server's certificate is that of a CA, as the usual `openssl req -x509` makes self-signed ones.
fn is_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(rustls::CertificateError::Other(rustls::OtherError(other))) = error else {
        return false;
    };
    matches!(other.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// The error of this type among the causes of an error, if it is one of them.
fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    if let Some(error) = error.downcast_ref::<E>() {
        return Some(error);
    }
    // `io::Error::source` skips the error it wraps and returns that error's source.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match wrapped {
        Some(inner) => cause(inner),
        None => error.source().and_then(cause),
    }
}

/// The innermost cause of an error, which is the most specific.
pub(super) fn root_cause(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    crate::domain::excerpt(&cause.to_string(), 200)
}

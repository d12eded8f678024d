//! Which proxy a request goes through, for diagnostics.

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

/// The proxy for a URL according to the environment or the system's settings, without user name and password.
pub(super) fn proxy_of(url: &Url) -> Option<String> {
    let uri: Uri = url.as_str().parse().ok()?;
    let proxy = Matcher::from_system().intercept(&uri)?;
    let (scheme, host) = (proxy.uri().scheme_str()?, proxy.uri().host()?);
    Some(match proxy.uri().port_u16() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

//! URLs of endpoints and installations, as people write them.

use url::{Host, ParseError, Url};

/// Parses an http(s) URL that something can be reached at, or says what is wrong with it. The URL itself is not quoted, as
/// it may contain a password.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not valid: {}", reason(error)))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must start with https:// or http://".to_owned());
    }
    if url.port() == Some(0) {
        return Err("has port 0, which nothing can listen on".to_owned());
    }
    if let Some(Host::Domain(name)) = url.host()
        && name.strip_suffix('.').unwrap_or(name).split('.').any(str::is_empty)
    {
        return Err("has a host with an empty part between its dots".to_owned());
    }
    Ok(url)
}

/// The URL without the dot that may end the name of a host, if there is one: the name means the same without it.
pub(super) fn without_final_dot(mut url: Url) -> Option<Url> {
    let host = url.host_str()?.strip_suffix('.')?.to_owned();
    url.set_host(Some(&host)).ok()?;
    Some(url)
}

/// Why a URL could not be parsed, for people.
fn reason(error: ParseError) -> &'static str {
    match error {
        ParseError::RelativeUrlWithoutBase => "it must start with https:// or http://",
        ParseError::EmptyHost => "the host is missing",
        ParseError::InvalidPort => "the port is not a number up to 65535",
        ParseError::InvalidIpv4Address | ParseError::InvalidIpv6Address => "the host is not an address",
        _ => "the host is not a name or an address",
    }
}

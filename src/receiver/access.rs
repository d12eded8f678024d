//! Which addresses requests are accepted from, and what `X-Forwarded-For` and `Forwarded` say of them.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use ipnet::IpNet;

/// Which addresses may send requests.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The networks that may; all if empty.
    pub allow_from: Vec<IpNet>,
    /// Whether to trust a proxy, on this machine or in a private network, that names the client in `X-Forwarded-For` or
    /// `Forwarded`.
    pub trust_proxy: bool,
}

impl Access {
    /// Whether a request from `peer` is accepted.
    pub(super) fn allows(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        if self.allow_from.is_empty() {
            return true;
        }
        let within = |caller: IpAddr| self.allow_from.iter().any(|network| network.contains(&caller.to_canonical()));
        let named = if self.trust_proxy && is_near(peer) { named_clients(headers) } else { Vec::new() };
        if named.is_empty() {
            return within(peer);
        }
        // A proxy writes one of them and passes the other through unchanged; which is unknown, so both must be allowed.
        named.into_iter().all(|client| client.is_some_and(within))
    }

    /// Where a request comes from: the client that a trusted proxy names without contradiction, else the peer.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trust_proxy || !is_near(peer) {
            return peer;
        }
        match named_clients(headers).as_slice() {
            [Some(client)] => *client,
            [Some(one), Some(other)] if one == other => *one,
            _ => peer,
        }
    }
}

/// The clients that the headers of a proxy name, one for each header that is there; `None` for one that cannot be read.
fn named_clients(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let plain = headers.get_all("x-forwarded-for").iter().next_back();
    let plain = plain.map(|value| value.to_str().ok().and_then(of_plain));
    // The lines of a list are one list: what is open in one of them might swallow the next.
    let lines: Vec<_> = headers.get_all("forwarded").iter().map(HeaderValue::to_str).collect();
    let full = (!lines.is_empty()).then(|| of_full(&lines.into_iter().collect::<Result<Vec<_>, _>>().ok()?.join(",")));
    plain.into_iter().chain(full).collect()
}

/// Whether a trusted proxy may have this address; headers from anywhere else can be forged.
fn is_near(peer: IpAddr) -> bool {
    match peer.to_canonical() {
        IpAddr::V4(peer) => peer.is_loopback() || peer.is_private(),
        IpAddr::V6(peer) => peer.is_loopback() || peer.is_unique_local(),
    }
}

/// The client that `X-Forwarded-For` names: the last in the list, which the proxy itself wrote; those before it can be
/// forged.
fn of_plain(list: &str) -> Option<IpAddr> {
    address(list.rsplit(',').next()?)
}

/// The client that `Forwarded` names: that of its last element, if the whole list is as RFC 7239 (section 4) has it. What
/// a client sent is part of the list, and a quote that it left open must not swallow the proxy's own element.
fn of_full(list: &str) -> Option<IpAddr> {
    let mut rest = list.trim_matches(is_blank);
    loop {
        let (node, after) = element(rest)?;
        match after.strip_prefix(',') {
            Some(next) => rest = next.trim_start_matches(is_blank),
            None => return address(&node?),
        }
    }
}

/// The node in the `for` of the first element of a list, and what is after that element: nothing, or a comma and more.
fn element(mut rest: &str) -> Option<(Option<String>, &str)> {
    let mut node = None;
    loop {
        if !rest.starts_with([';', ',']) && !rest.is_empty() {
            let (name, after) = token(rest, "")?;
            let (value, after) = value(after.strip_prefix('=')?)?;
            // A name occurs once in an element.
            if name.eq_ignore_ascii_case("for") && node.replace(value).is_some() {
                return None;
            }
            rest = after.trim_start_matches(is_blank);
        }
        match rest.strip_prefix(';') {
            Some(next) => rest = next.trim_start_matches(is_blank),
            None if rest.is_empty() || rest.starts_with(',') => return Some((node, rest)),
            None => return None,
        }
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// A token (RFC 9110, section 5.6.2) that may have these characters too, and what is after it.
fn token<'a>(text: &'a str, more: &str) -> Option<(&'a str, &'a str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c) || more.contains(c);
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A token or the contents of a quoted string, and what is after it. Proxies leave the quotes away from addresses with a
/// colon or brackets, which is not ambiguous.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text, ":[]").map(|(token, after)| (token.to_owned(), after));
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (place, c) in quoted.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => {
                escaped = true;
                continue;
            }
            '"' => return Some((value, &quoted[place + 1..])),
            _ => {}
        }
        value.push(c);
    }
    None
}

/// An address with or without a port; an IPv6 one in brackets if it has a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches(is_blank);
    let with_port = || text.parse().map(|address: SocketAddr| address.ip()).ok();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().map(IpAddr::V6).ok();
    text.parse().ok().or_else(with_port).or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(trust_proxy: bool, peer: &str, header: Option<(&'static str, &str)>) -> bool {
        let allow_from = ["10.0.0.0/8", "2001:db8::/32"].map(|net| net.parse().unwrap()).to_vec();
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(name, value.parse().unwrap());
        }
        Access { allow_from, trust_proxy }.allows(peer.parse().unwrap(), &headers)
    }

    #[test]
    fn networks_are_held_against_the_peer() {
        assert!(allows(false, "10.1.2.3", None));
        assert!(allows(false, "::ffff:10.1.2.3", None));
        assert!(allows(false, "2001:db8::7", None));
        assert!(!allows(false, "11.1.2.3", None));
        assert!(!allows(false, "11.1.2.3", Some(("x-forwarded-for", "10.0.0.1"))));
        assert!(Access::default().allows("11.1.2.3".parse().unwrap(), &HeaderMap::new()));
    }

    #[test]
    fn a_proxy_is_trusted_for_the_last_hop_only() {
        let by = |name, value| allows(true, "127.0.0.1", Some((name, value)));
        assert!(by("x-forwarded-for", "1.2.3.4, 10.0.0.1"));
        assert!(!by("x-forwarded-for", "10.0.0.1, 1.2.3.4"));
        assert!(!by("x-forwarded-for", "nonsense"));
        assert!(by("forwarded", "for=1.2.3.4, for=\"[2001:db8::1]:443\";proto=https"));
        assert!(by("forwarded", "proto=https;For=10.0.0.1:99"));
        assert!(!by("forwarded", "for=_hidden"));
        for quoted in [
            r#"for=9.9.9.9;host="evil,for=10.0.0.1""#,
            r#"proto=http;host="a,for=10.0.0.1;x=";for=9.9.9.9"#,
            r#"for=9.9.9.9;host="a\",for=10.0.0.1""#,
            r#"for=10.0.0.1, for=9.9.9.9;host="a,""#,
        ] {
            assert!(!by("forwarded", quoted), "{quoted}");
        }
        assert!(by("forwarded", r#"host="a,b;c";for=10.0.0.1"#));
        assert!(by("forwarded", r#"for=9.9.9.9 , proto=https; for="10.0.0.1:\8\0""#));
        assert!(allows(true, "10.0.0.9", None));
    }

    #[test]
    fn a_header_that_does_not_parse_names_nobody() {
        let by = |name, value| allows(true, "127.0.0.1", Some((name, value)));
        for broken in [
            // A quote that the client left open, before what the proxy added.
            r#"for=10.0.0.1;x=", for=9.9.9.9"#,
            r#"for=10.0.0.1;x=", for="9.9.9.9:1""#,
            r#"x=", host=";for=10.0.0.1;y=";for=9.9.9.9"#,
            r#"for=10.0.0.1;x="\"#,
            r#"for="10.0.0.1"9"#,
            "for=10.0.0.1;for=10.0.0.1",
            "for=10.0.0.1 for=10.0.0.1",
            "for =10.0.0.1",
            "for",
            "for=",
            "=10.0.0.1",
            r#"for="[2001:db8::1]x""#,
            r#"for="[2001:db8::1]:99999""#,
            r#"for="[10.0.0.1]""#,
            r#"for="unknown""#,
            "for=10.0.0.1,",
            ",",
            "",
        ] {
            assert!(!by("forwarded", broken), "{broken}");
        }
        for broken in [
            "10.0.0.1:",
            "10.0.0.1:port",
            "10.0.0.1:99999",
            "[2001:db8::1",
            "[2001:db8::1]x",
            "10.0.0.1,",
            "\"10.0.0.1\"",
        ] {
            assert!(!by("x-forwarded-for", broken), "{broken}");
        }
        // Lines of a header are one list.
        let mut headers = HeaderMap::new();
        headers.append("forwarded", r#"for=9.9.9.9;x=""#.parse().unwrap());
        headers.append("forwarded", "for=10.0.0.1".parse().unwrap());
        let access = Access { allow_from: vec!["10.0.0.0/8".parse().unwrap()], trust_proxy: true };
        assert!(!access.allows("127.0.0.1".parse().unwrap(), &headers));
    }

    #[test]
    fn the_client_is_who_a_trusted_proxy_names_without_contradiction() {
        let access = Access { allow_from: Vec::new(), trust_proxy: true };
        let client = |peer: &str, plain: &str, full: &str| {
            let mut headers = HeaderMap::new();
            for (name, value) in
                [("x-forwarded-for", plain), ("forwarded", full)].into_iter().filter(|it| !it.1.is_empty())
            {
                headers.insert(name, value.parse().unwrap());
            }
            access.client(peer.parse().unwrap(), &headers).to_string()
        };
        assert_eq!(client("127.0.0.1", "1.1.1.1, 2.2.2.2", ""), "2.2.2.2");
        assert_eq!(client("127.0.0.1", "2.2.2.2", "for=2.2.2.2"), "2.2.2.2");
        for (peer, plain, full) in
            [("127.0.0.1", "2.2.2.2", "for=3.3.3.3"), ("127.0.0.1", "nonsense", ""), ("127.0.0.1", "", "")]
        {
            assert_eq!(client(peer, plain, full), peer);
        }
        assert_eq!(client("9.9.9.9", "2.2.2.2", ""), "9.9.9.9");
    }

    #[test]
    fn only_a_proxy_nearby_is_trusted() {
        for (peer, trusted) in [
            ("127.0.0.1", true),
            ("192.168.1.1", true),
            ("::1", true),
            ("fd00::1", true),
            ("::ffff:172.16.0.1", true),
            ("11.1.2.3", false),
            ("::ffff:11.1.2.3", false),
            ("2a00::1", false),
        ] {
            assert_eq!(allows(true, peer, Some(("x-forwarded-for", "10.0.0.1"))), trusted, "{peer}");
        }
        // A peer that cannot be the proxy is the client itself.
        assert!(allows(true, "2001:db8::7", Some(("x-forwarded-for", "1.2.3.4"))));
    }
}

//! Which addresses requests are accepted from.

use std::net::IpAddr;

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
        let last = |name: &str| headers.get_all(name).iter().next_back();
        let (plain, full) = (last("x-forwarded-for"), last("forwarded"));
        if !self.trust_proxy || !is_near(peer) || (plain, full) == (None, None) {
            return within(peer);
        }
        // A proxy writes one of them and passes the other through unchanged; which is unknown, so both must be allowed.
        let good = |header: Option<&HeaderValue>, read: fn(&str) -> Option<IpAddr>| {
            header.is_none_or(|value| value.to_str().ok().and_then(read).is_some_and(within))
        };
        good(plain, of_plain) && good(full, of_full)
    }
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

/// The client that `Forwarded` names (RFC 7239).
fn of_full(list: &str) -> Option<IpAddr> {
    let hop = unquoted_parts(list, ',').pop()?;
    let parts = unquoted_parts(hop, ';');
    let mut pairs = parts.iter().filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    address(node.trim().trim_matches('"'))
}

/// The parts between these separators, except within quotes: quoted text such as the requested host is the client's
/// choice.
fn unquoted_parts(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let is_separator = |c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return c == separator && !quoted,
        }
        false
    };
    text.split(is_separator).collect()
}

/// An address with or without a port, an IPv6 one with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let without_port = || text.rsplit_once(':').map(|(host, _)| host).and_then(|host| host.parse().ok());
    bare.unwrap_or(text).parse().ok().or_else(without_port)
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
        assert!(allows(true, "10.0.0.9", None));
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

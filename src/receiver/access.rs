//! Whose calls are looked at: by the address that they come from.

use std::net::IpAddr;

use hyper::HeaderMap;
use ipnet::IpNet;

/// Which addresses may call.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The networks that may; any when there is none.
    pub allow_from: Vec<IpNet>,
    /// Whether a proxy is in front, which says in `X-Forwarded-For` or `Forwarded` who calls.
    pub trust_proxy: bool,
}

impl Access {
    /// Whether a call that came from `peer` may go on.
    pub(super) fn allows(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        if self.allow_from.is_empty() {
            return true;
        }
        let caller = if self.trust_proxy { forwarded_for(headers, peer) } else { Some(peer) };
        caller.is_some_and(|caller| self.allow_from.iter().any(|network| network.contains(&caller.to_canonical())))
    }
}

/// Who the proxy says calls: the last in the list, which is what the proxy itself wrote; those before it anybody may
/// have written. The peer itself when it says nothing; `None` when that cannot be read.
fn forwarded_for(headers: &HeaderMap, peer: IpAddr) -> Option<IpAddr> {
    let last = |name: &str| headers.get_all(name).iter().next_back();
    if let Some(value) = last("x-forwarded-for") {
        return value.to_str().ok().and_then(|list| address(list.rsplit(',').next()?));
    }
    let Some(value) = last("forwarded") else { return Some(peer) };
    let read = |list: &str| {
        let hop = list.rsplit(',').next()?;
        let mut pairs = hop.split(';').filter_map(|pair| pair.split_once('='));
        let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
        address(node.trim().trim_matches('"'))
    };
    value.to_str().ok().and_then(read)
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
    fn a_proxy_is_believed_about_the_last_hop_only() {
        let by = |name, value| allows(true, "127.0.0.1", Some((name, value)));
        assert!(by("x-forwarded-for", "1.2.3.4, 10.0.0.1"));
        assert!(!by("x-forwarded-for", "10.0.0.1, 1.2.3.4"));
        assert!(!by("x-forwarded-for", "nonsense"));
        assert!(by("forwarded", "for=1.2.3.4, for=\"[2001:db8::1]:443\";proto=https"));
        assert!(by("forwarded", "proto=https;For=10.0.0.1:99"));
        assert!(!by("forwarded", "for=_hidden"));
        assert!(allows(true, "10.0.0.9", None));
    }
}

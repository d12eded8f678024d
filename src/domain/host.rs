//! From where a host can be reached, according to its name or address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Host;

/// From where a host can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostScope {
    /// Only from the same machine.
    Loopback,
    /// Only from the same network.
    Private,
    /// From anywhere, as far as its name shows.
    Public,
}

/// The scope of a host. Names are not resolved.
pub fn host_scope(host: &Host<&str>) -> HostScope {
    match host {
        Host::Ipv4(address) => address_scope(IpAddr::V4(*address)),
        Host::Ipv6(address) => address_scope(IpAddr::V6(*address)),
        Host::Domain(name) => name_scope(name),
    }
}

fn name_scope(name: &str) -> HostScope {
    let name = name.trim_end_matches('.');
    let below = |suffix: &str| name == suffix || name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'));
    if below("localhost") {
        HostScope::Loopback
    } else if below("local") || below("internal") || below("lan") || below("home.arpa") || !name.contains('.') {
        HostScope::Private
    } else {
        HostScope::Public
    }
}

fn address_scope(address: IpAddr) -> HostScope {
    let (loopback, private) = match address {
        IpAddr::V4(v4) => (v4.is_loopback(), is_private_v4(v4)),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => return address_scope(IpAddr::V4(v4)),
            None => (v6.is_loopback(), is_private_v6(v6)),
        },
    };
    match (loopback, private) {
        (true, _) => HostScope::Loopback,
        (_, true) => HostScope::Private,
        _ => HostScope::Public,
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    // 100.64.0.0/10 is the shared address space of carriers (RFC 6598).
    let shared = first == 100 && second & 0b1100_0000 == 64;
    address.is_private() || address.is_link_local() || address.is_unspecified() || shared
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    address.is_unique_local() || address.is_unicast_link_local() || address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_follows_from_name_or_address() {
        let scope = |url: &str| host_scope(&url::Url::parse(url).unwrap().host().unwrap());
        for url in [
            "http://localhost/",
            "http://a.localhost/",
            "http://127.9.9.9/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://2130706433/",
        ] {
            assert_eq!(scope(url), HostScope::Loopback, "{url}");
        }
        for url in [
            "http://10.0.0.1/",
            "http://192.168.3.4/",
            "http://172.20.0.1/",
            "http://169.254.0.1/",
            "http://100.64.0.1/",
            "http://[fd00::1]/",
            "http://[fe80::1]/",
            "http://ci.internal/",
            "http://printer.local/",
            "http://intranet/",
            "http://0.0.0.0/",
        ] {
            assert_eq!(scope(url), HostScope::Private, "{url}");
        }
        for url in [
            "https://hooks.example.com/",
            "http://8.8.8.8/",
            "http://100.128.0.1/",
            "http://notlocalhost.example/",
            "http://[2001:db8::1]/",
        ] {
            assert_eq!(scope(url), HostScope::Public, "{url}");
        }
    }
}

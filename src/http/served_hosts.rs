//! Under which names something is served.

use hyper::Request;
use hyper::header::HOST;
use hyper::http::uri::Authority;
use url::Host;

/// The names of hosts under which something is served that is for operators alone. IP addresses and loopback names always are: a page
/// on the web whose name is made to resolve to this machine sends that name.
#[derive(Debug, Clone, Default)]
pub struct ServedHosts(Vec<String>);

impl ServedHosts {
    /// These names too.
    pub fn named(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| normal(&name)).collect())
    }

    /// Whether a request asks for one of these hosts, or for none.
    pub fn allow<B>(&self, request: &Request<B>) -> bool {
        let headers = request.headers().get_all(HOST).iter().map(|value| value.to_str().ok());
        let target = request.uri().authority().map(|authority| Some(authority.as_str()));
        headers.chain(target).all(|host| host.is_some_and(|host| host.is_empty() || self.has(host)))
    }

    fn has(&self, host: &str) -> bool {
        // A user's name is no part of it.
        let Some(authority) = host.parse::<Authority>().ok().filter(|_| !host.contains('@')) else { return false };
        match Host::parse(authority.host()) {
            Ok(Host::Ipv4(_) | Host::Ipv6(_)) => true,
            Ok(Host::Domain(name)) => {
                let name = normal(&name);
                name == "localhost" || name.ends_with(".localhost") || self.0.contains(&name)
            }
            Err(_) => false,
        }
    }
}

/// A name in lower case, without the dot of the root.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(target: &str, hosts: &[&str]) -> bool {
        let named = ServedHosts::named(["Receiver.Internal.".to_owned()]);
        let mut request = Request::get(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        named.allow(&request.body(()).unwrap())
    }

    #[test]
    fn a_name_that_is_not_known_is_not_served() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:4000",
            "10.1.2.3",
            "[::1]:4000",
            "[2001:db8::7]",
            "localhost",
            "LOCALHOST:80",
            "localhost.",
            "a.localhost:1",
            "receiver.internal:9100",
            "RECEIVER.internal.",
            "",
        ] {
            assert!(allowed("/metrics", &[host]), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:4000",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "receiver.internal.evil.example",
            "x.receiver.internal",
            "::1",
            "a b",
            "/",
        ] {
            assert!(!allowed("/metrics", &[host]), "{host}");
            assert!(!allowed("/metrics", &["127.0.0.1", host]), "{host}");
        }
        assert!(allowed("/metrics", &[]));
        assert!(
            allowed("http://127.0.0.1:4000/metrics", &[]) && !allowed("http://evil.example/metrics", &["127.0.0.1"])
        );
    }
}

//! Names that stand for this machine: `localhost` and those below it, which not every system resolves so.

use std::fmt;
use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A resolver that knows this machine only. What is checked is what is connected to, as the name is resolved once.
pub(super) struct LoopbackResolver;

/// The error of a name that stands for another machine, or for none.
#[derive(Debug)]
pub(super) struct NotLoopback(String);

impl fmt::Display for NotLoopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not resolve to this machine", self.0)
    }
}

impl std::error::Error for NotLoopback {}

impl Resolve for LoopbackResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let addresses = only_loopback(name.as_str(), found.into_iter().flatten())?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The addresses of a name, which must be of this machine, all of them.
fn only_loopback(name: &str, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, NotLoopback> {
    let addresses: Vec<_> = found.collect();
    let is_loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
    if addresses.is_empty() || !addresses.iter().all(is_loopback) {
        return Err(NotLoopback(name.to_owned()));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_must_be_of_this_machine() {
        let resolved = |addresses: &[&str]| {
            only_loopback("x.localhost", addresses.iter().map(|address| address.parse().unwrap())).is_ok()
        };
        assert!(resolved(&["127.0.0.1:0", "[::1]:0", "127.0.0.2:0", "[::ffff:127.0.0.1]:0"]));
        for others in [&[][..], &["192.0.2.1:0"], &["127.0.0.1:0", "192.0.2.1:0"], &["0.0.0.0:0"], &["[::]:0"]] {
            assert!(!resolved(others), "{others:?}");
        }
    }
}

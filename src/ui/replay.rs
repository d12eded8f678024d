//! Replays to a URL: only to hosts that whoever started the page has named.

use std::str::FromStr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use url::Url;

use super::notices::Notice;
use crate::domain::signature::standard_headers;
use crate::domain::{HostScope, ShownTarget, excerpt, host_scope};
use crate::error::Result;
use crate::http::{Client, ClientOptions, Method, Payload, Peer, Repeat, Request, RequestBody, Roots};
use crate::store::EventRecord;

/// How long an endpoint may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How much of an answer is shown, in characters.
const SHOWN_OF_ANSWER: usize = 2000;

/// A host that events may be replayed to, with all of its ports or one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    host: String,
    port: Option<u16>,
}

impl FromStr for AllowedHost {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || "not a host such as staging.example.com or 127.0.0.1:3000".to_owned();
        let url = Url::parse(&format!("http://{text}/")).map_err(|_| wrong())?;
        let plain = url.path() == "/"
            && url.query().is_none()
            && url.username().is_empty()
            && !text.contains(['/', '@', '?', '#']);
        let host = url.host_str().filter(|_| plain).ok_or_else(wrong)?;
        // The port of http goes unsaid in a URL.
        let port = if url.port().is_none() && text.ends_with(":80") { Some(80) } else { url.port() };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl AllowedHost {
    fn allows(&self, url: &Url) -> bool {
        url.host_str() == Some(&self.host) && self.port.is_none_or(|port| url.port_or_known_default() == Some(port))
    }
}

/// The URL that was typed, if events may go there.
///
/// # Errors
/// What is wrong with it, for people.
pub(super) fn allowed_url(allowed: &[AllowedHost], text: &str) -> std::result::Result<Url, String> {
    let url =
        Url::parse(text.trim()).map_err(|_| "write a whole URL, such as http://127.0.0.1:3000/hook".to_owned())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("write a URL of http or https".to_owned());
    }
    if allowed.iter().any(|host| host.allows(&url)) {
        return Ok(url);
    }
    let host = url.host_str().unwrap_or_default();
    Err(format!("{host} is not allowed: start the page with --allow-target {host}"))
}

/// How requests are made.
#[derive(Debug, Clone)]
pub struct ReplayClients {
    /// The certificate authorities that are trusted.
    pub roots: Roots,
}

impl ReplayClients {
    fn client(&self, url: &Url) -> Result<Client> {
        let is_loopback = url.host().is_some_and(|host| host_scope(&host) == HostScope::Loopback);
        Client::new(ClientOptions {
            attempt_timeout: TIMEOUT,
            total_timeout: Some(TIMEOUT),
            tls: url.scheme() == "https",
            proxy: !is_loopback,
            loopback_only: false,
            roots: self.roots.clone(),
            peer: Peer::Endpoint,
        })
    }

    /// Sends an event as `events replay` does. What comes of it is for people.
    pub(super) async fn send(&self, url: &Url, event: &EventRecord) -> Notice {
        match self.try_send(url, event).await {
            Ok(notice) => notice,
            Err(error) => Notice::bad(format!("{}: {error}", ShownTarget::of(url))),
        }
    }

    async fn try_send(&self, url: &Url, event: &EventRecord) -> Result<Notice> {
        let bytes = [b"[", event.json.as_deref().unwrap_or_default(), b"]"].concat();
        let mut headers = standard_headers(&event.key.message_id(), Timestamp::now(), None, &bytes)?;
        headers.push(("bugfender-hooks-replay", "true".to_owned()));
        let payload = Payload { content_type: "application/json".into(), headers, bytes };
        let (url, body) = (url.clone(), Some(RequestBody::Bytes(payload)));
        let request = Request { method: Method::POST, url, body, repeat: Repeat::Never };
        let (client, begun) = (self.client(&request.url)?, Instant::now());
        let answer = client.send(&request, None).await.map_err(|failure| failure.error)?;
        let text = format!(
            "{} answered with {} after {} ms",
            ShownTarget::of(&request.url),
            answer.status.as_u16(),
            begun.elapsed().as_millis()
        );
        let notice = if answer.status.is_success() { Notice::good(text) } else { Notice::bad(text) };
        let said = answer.body.ok().map(|body| excerpt(&String::from_utf8_lossy(&body), SHOWN_OF_ANSWER));
        Ok(Notice { detail: said.filter(|said| !said.trim().is_empty()), ..notice })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_that_were_named_are_reached() {
        let allowed: Vec<AllowedHost> = ["staging.example.com", "127.0.0.1:3000", "[::1]:80", "Mixed.Example"]
            .into_iter()
            .map(|text| text.parse().unwrap())
            .collect();
        for good in [
            "https://staging.example.com/a?b=c",
            "http://staging.example.com:8080/",
            " http://127.0.0.1:3000/hook ",
            "http://2130706433:3000/",
            "http://[::1]/",
            "http://mixed.example/",
        ] {
            assert!(allowed_url(&allowed, good).is_ok(), "{good}");
        }
        for bad in [
            "http://127.0.0.1:3001/",
            "http://127.0.0.1/",
            "http://localhost:3000/",
            "http://evil.example/?staging.example.com",
            "http://staging.example.com@evil.example/",
            "http://staging.example.com.evil.example/",
            "ftp://staging.example.com/",
            "file:///etc/passwd",
            "staging.example.com",
            "http://169.254.169.254/latest",
            "http://[::1]:81/",
            "",
        ] {
            assert!(allowed_url(&allowed, bad).is_err(), "{bad}");
        }
        for wrong in ["", "a/b", "user@host", "http://host", "host?x", "a b"] {
            assert!(wrong.parse::<AllowedHost>().is_err(), "{wrong}");
        }
    }
}

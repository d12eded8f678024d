//! The Bugfender installation.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use url::Url;

use super::host::{HostScope, host_scope};
use super::text::without_bom;
use super::web_url;
use crate::error::Error;

/// The origin of a Bugfender installation, such as `https://dashboard.bugfender.com`.
///
/// The REST API is under `/api` and OAuth under `/auth` (seen in published clients).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiOrigin(Arc<Url>);

impl ApiOrigin {
    /// The hosted service.
    pub const HOSTED: &str = "https://dashboard.bugfender.com";

    /// A URL at this origin. Each segment is encoded, so that it cannot change the rest of the path.
    ///
    /// An empty last segment yields a trailing slash.
    pub fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = Url::clone(&self.0);
        // An http(s) URL can always be a base, so there is always a path to extend.
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(segments);
        }
        url
    }

    /// The origin as text, without a trailing slash.
    pub fn as_str(&self) -> &str {
        // `Url` writes an origin with a trailing slash.
        let text = self.0.as_str();
        text.strip_suffix('/').unwrap_or(text)
    }

    /// The origin as part of a file name. It is unique, as no host contains a %.
    pub fn as_file_name(&self) -> String {
        self.as_str().trim_start_matches("https://").replace("://", "%").replace(':', "%")
    }

    /// Whether requests are unencrypted.
    pub fn is_plain_http(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// Whether the installation runs on this machine, as the sandbox does.
    pub fn is_loopback(&self) -> bool {
        self.0.host().is_some_and(|host| host_scope(&host) == HostScope::Loopback)
    }
}

impl FromStr for ApiOrigin {
    type Err = Error;

    /// Accepts the origin with or without `/api`, as published clients disagree on what "API URL" means.
    fn from_str(text: &str) -> Result<Self, Error> {
        let example = format!("for example {}", Self::HOSTED);
        let wrong = |what: &str| Error::usage(format!("the API URL {what}")).hint(example.clone());
        let mut url = web_url::parse(without_bom(text).trim()).map_err(|what| wrong(&what))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("must not contain a user name or password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("must not have a query or a fragment"));
        }
        if !matches!(url.path().trim_end_matches('/'), "" | "/api") {
            return Err(wrong("must be the origin only, with or without /api"));
        }
        url.set_path("");
        // One installation is one origin: hooks are on record under it.
        let url = web_url::without_final_dot(url.clone()).unwrap_or(url);
        Ok(Self(Arc::new(url)))
    }
}

impl fmt::Display for ApiOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ApiOrigin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_readings_of_api_url_are_one_origin() {
        for text in [
            "https://bf.example",
            "https://bf.example/",
            "https://bf.example/api",
            "https://BF.example:443/api/",
            " https://bf.example ",
            "\u{feff}https://bf.example./api",
        ] {
            assert_eq!(text.parse::<ApiOrigin>().unwrap().as_str(), "https://bf.example", "{text}");
        }
        for text in [
            "bf.example",
            "ftp://bf.example",
            "https://u:p@bf.example",
            "https://bf.example/v2",
            "https://bf.example/?a=b",
            "https://",
            "https://bf.example:0",
            "https://bf..example",
            "",
        ] {
            assert!(text.parse::<ApiOrigin>().is_err(), "{text}");
        }
    }

    #[test]
    fn segments_cannot_change_the_rest_of_the_path() {
        let origin: ApiOrigin = "http://127.0.0.1:9".parse().unwrap();
        assert_eq!(origin.url(["api", "hook", "1/../2?x", ""]).as_str(), "http://127.0.0.1:9/api/hook/1%2F..%2F2%3Fx/");
    }
}

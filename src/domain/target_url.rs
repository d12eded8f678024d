//! The endpoints of subscriptions.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use url::Url;

use super::host::{HostScope, host_scope};
use crate::error::Error;

/// The replacement for a redacted part of a URL.
const REDACTED: &str = "****";

/// The endpoint of a subscription. It may contain a user name and password, which are redacted when shown.
///
/// Stored as normalised text, so that URLs from a large registry need not be parsed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetUrl(Box<str>);

impl TargetUrl {
    /// The maximum length of a URL, in bytes.
    pub const MAX_LEN: usize = 2048;

    /// A URL from the registry, which was validated when it was stored.
    pub fn from_stored(text: String) -> Self {
        Self(text.into_boxed_str())
    }

    /// The full URL with its password, only for requests and the registry.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the URL contains a password, or a user name, which may be a token.
    pub fn has_secret(&self) -> bool {
        self.with_userinfo().is_some()
    }

    /// The password, or the user name if there is no password.
    pub fn password(&self) -> Option<String> {
        let url = self.with_userinfo()?;
        Some(url.password().unwrap_or(url.username()).to_owned())
    }

    /// The URL with its password redacted, or its user name if there is no password, as it may be a token.
    pub fn redacted(&self) -> Cow<'_, str> {
        let Some(mut url) = self.with_userinfo() else {
            return Cow::Borrowed(&self.0);
        };
        // Setting these fails only on URLs without a host, which are never a target.
        if url.password().is_some() {
            let _ = url.set_password(Some(REDACTED));
        } else {
            let _ = url.set_username(REDACTED);
        }
        Cow::Owned(url.into())
    }

    /// Whether the password is redacted, as in a URL copied from output, which can only be used to select hooks.
    pub fn is_redacted(&self) -> bool {
        self.password().is_some_and(|password| password == REDACTED)
    }

    /// The text to show: full or redacted.
    pub fn into_shown(self, show_secrets: bool) -> String {
        match self.redacted() {
            Cow::Owned(redacted) if !show_secrets => redacted,
            _ => self.0.into_string(),
        }
    }

    /// Whether `self` selects hooks with the URL `stored`.
    ///
    /// The redacted form, as copied from output, and the form without user name and password match too.
    pub fn selects(&self, stored: &Self) -> bool {
        self == stored
            || stored
                .with_userinfo()
                .is_some_and(|url| *self.0 == *stored.redacted() || *self.0 == *without_userinfo(url))
    }

    /// From where the endpoint can be reached, as far as its name shows.
    pub fn scope(&self) -> HostScope {
        let url = Url::parse(&self.0).ok();
        url.as_ref().and_then(Url::host).map_or(HostScope::Public, |host| host_scope(&host))
    }

    /// The parsed URL, if it contains a user name or password.
    fn with_userinfo(&self) -> Option<Url> {
        let url = self.0.contains('@').then(|| Url::parse(&self.0).ok()).flatten()?;
        (!url.username().is_empty() || url.password().is_some()).then_some(url)
    }
}

fn without_userinfo(mut url: Url) -> String {
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

impl FromStr for TargetUrl {
    type Err = Error;

    /// Errors never quote the text, as it may contain a password.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |what: &str| {
            Error::usage(format!("the target URL {what}")).hint("for example https://hooks.example.com/bugfender")
        };
        let text = text.trim();
        if text.len() > Self::MAX_LEN {
            return Err(wrong(&format!("is longer than {} bytes", Self::MAX_LEN)));
        }
        if text.is_empty() {
            return Err(wrong("is empty"));
        }
        // The URL parser would drop line breaks and join two lines into one URL.
        if text.contains(char::is_control) {
            return Err(wrong("contains a line break or another control character"));
        }
        let url = Url::parse(text).map_err(|error| wrong(&format!("is not a URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("must start with https:// or http://"));
        }
        if url.fragment().is_some() {
            return Err(wrong("must not have a fragment, as the part after # is never sent"));
        }
        Ok(Self::from_stored(url.into()))
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TargetUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> TargetUrl {
        text.parse().unwrap()
    }

    #[test]
    fn passwords_are_redacted_unless_exposed() {
        let url = target("https://ci:s3cret@hooks.example.com/bf?x=1");
        assert_eq!(url.to_string(), "https://ci:****@hooks.example.com/bf?x=1");
        assert!(!format!("{url:?}").contains("s3cret"));
        assert_eq!(url.expose(), "https://ci:s3cret@hooks.example.com/bf?x=1");
        assert_eq!(target("https://t0ken@hooks.example.com/").to_string(), "https://****@hooks.example.com/");
        assert_eq!(target("https://hooks.example.com").to_string(), "https://hooks.example.com/");
    }

    #[test]
    fn a_url_without_its_password_still_selects_the_hook() {
        let stored = target("https://ci:s3cret@hooks.example.com/bf");
        for given in [
            "https://ci:s3cret@hooks.example.com/bf",
            "https://ci:****@hooks.example.com/bf",
            "https://hooks.example.com/bf",
        ] {
            assert!(target(given).selects(&stored), "{given}");
        }
        for given in
            ["https://ci:other@hooks.example.com/bf", "https://hooks.example.com/", "https://ci@hooks.example.com/bf"]
        {
            assert!(!target(given).selects(&stored), "{given}");
        }
        assert!(!stored.selects(&target("https://hooks.example.com/bf")));
        assert!(target("https://ci:****@hooks.example.com/bf").is_redacted());
        assert!(target("https://****@hooks.example.com/bf").is_redacted());
        assert!(!stored.is_redacted() && !target("https://hooks.example.com/bf").is_redacted());
    }

    #[test]
    fn errors_do_not_quote_the_url() {
        for wrong in ["ftp://u:s3cret@h/", "https://u:s3cret@", "u:s3cret@h", "https://u:s3cret@h/#x", ""] {
            let error = wrong.parse::<TargetUrl>().unwrap_err();
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}

//! The endpoints of subscriptions: how they are compared, and redacted when they are shown.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use url::Url;

use super::host::{HostScope, host_scope};
use super::text::without_bom;
use super::web_url;
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
        let (given, known) = (self.endpoint(), stored.endpoint());
        given == known
            || stored.with_userinfo().is_some_and(|url| {
                given == equivalent(&stored.redacted()) || given == equivalent(&without_userinfo(url))
            })
    }

    /// Whether both are the same endpoint. One whose password is redacted, as in an export of a registry, is the same as
    /// any that differs from it by nothing but the password.
    pub fn is_same_endpoint(&self, other: &Self) -> bool {
        let hidden =
            |hidden: &Self, whole: &Self| hidden.is_redacted() && *hidden.endpoint() == whole.redacted_endpoint();
        self.endpoint() == other.endpoint() || hidden(self, other) || hidden(other, self)
    }

    /// The endpoint, the same text for all URLs that RFC 3986 (section 6.2.2) calls equivalent. Only for comparisons: what
    /// is sent stays as it was written.
    pub fn endpoint(&self) -> Cow<'_, str> {
        equivalent(&self.0)
    }

    /// The endpoint of the URL with its password redacted.
    pub fn redacted_endpoint(&self) -> String {
        equivalent(&self.redacted()).into_owned()
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

/// A normalised URL in the one form that stands for all equivalent ones: unreserved characters are not encoded, others are
/// with capitals, and the host's name has no dot at its end. The URL parser has normalised the rest.
fn equivalent(url: &str) -> Cow<'_, str> {
    let mut url = Cow::Borrowed(url);
    if url.contains("./") || url.contains(".:") {
        let shorter = Url::parse(&url).ok().and_then(web_url::without_final_dot);
        url = shorter.map_or(url, |url| Cow::Owned(url.into()));
    }
    if !url.contains('%') {
        return url;
    }
    let mut text = String::with_capacity(url.len());
    let mut rest = &*url;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        rest = after;
        match after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok().map(|byte| (digits, byte))) {
            Some((_, byte)) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => text.push(char::from(byte)),
            Some((digits, _)) => {
                text.push('%');
                text.push_str(&digits.to_ascii_uppercase());
            }
            None => {
                text.push('%');
                continue;
            }
        }
        rest = &after[2..];
    }
    text.push_str(rest);
    Cow::Owned(text)
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
        let text = without_bom(text).trim();
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
        let url = web_url::parse(text).map_err(|what| wrong(&what))?;
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
    fn a_redacted_url_is_the_endpoint_that_it_was_made_of() {
        let whole = target("https://ci:s3cret@hooks.example.com/bf");
        let redacted = target(&whole.redacted());
        assert!(whole.is_same_endpoint(&redacted) && redacted.is_same_endpoint(&whole));
        assert!(redacted.is_same_endpoint(&target("https://ci:new@hooks.example.com/bf")));
        for other in ["https://ci:new@hooks.example.com/bf", "https://hooks.example.com/bf"] {
            assert!(!whole.is_same_endpoint(&target(other)), "{other}");
        }
        assert!(!redacted.is_same_endpoint(&target("https://hooks.example.com/bf")));
    }

    #[test]
    fn equivalent_urls_are_one_endpoint() {
        let endpoint = |text: &str| target(text).endpoint().into_owned();
        let first = endpoint("https://hooks.example.com/x%C3%A9/~me?a=%2F");
        for same in [
            "https://HOOKS.example.com:443/x%C3%A9/~me?a=%2F",
            "https://hooks.example.com/x\u{e9}/~me?a=%2f",
            "https://hooks.example.com/x%c3%a9/%7Eme?a=%2F",
            "https://hooks.example.com/%78%C3%A9/~me?%61=%2F",
            "https://hooks.example.com./x%C3%A9/~me?a=%2F",
            "https://hooks.example.com.:443/y/../x%C3%A9/%7eme?a=%2F",
        ] {
            assert_eq!(endpoint(same), first, "{same}");
            assert!(target(same).selects(&target("https://ci:pw@hooks.example.com/x%C3%A9/~me?a=%2F")), "{same}");
        }
        for other in [
            "http://hooks.example.com/x%C3%A9/~me?a=%2F",
            "https://hooks.example.com/x%C3%A9/~me?a=/",
            "https://hooks.example.com/x%C3%A9/~me/?a=%2F",
            "https://hooks.example.com/X%C3%A9/~me?a=%2F",
            "https://hooks.example.com/x%25C3%A9/~me?a=%2F",
        ] {
            assert_ne!(endpoint(other), first, "{other}");
        }
        // What is sent stays as it was written.
        assert_eq!(target("\u{feff}https://hooks.example.com/").expose(), "https://hooks.example.com/");
        assert_eq!(target("https://hooks.example.com./%7eme").expose(), "https://hooks.example.com./%7eme");
        assert_eq!(endpoint("https://h.example.com/%zz%4"), "https://h.example.com/%zz%4");
    }

    #[test]
    fn a_url_that_nothing_can_be_reached_at_is_refused() {
        for url in ["https://h.example.com:0/", "https://a..example.com/", "https://.example.com/", "https://h..:443/"]
        {
            let error = url.parse::<TargetUrl>().unwrap_err().to_string();
            assert!(error.contains("port 0") || error.contains("empty part"), "{url}: {error}");
        }
        assert!(
            "hooks.example.com/x".parse::<TargetUrl>().unwrap_err().to_string().contains("must start with https://")
        );
    }

    #[test]
    fn errors_do_not_quote_the_url() {
        for wrong in ["ftp://u:s3cret@h/", "https://u:s3cret@", "u:s3cret@h", "https://u:s3cret@h/#x", ""] {
            let error = wrong.parse::<TargetUrl>().unwrap_err();
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}

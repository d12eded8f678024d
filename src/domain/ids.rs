//! The ids of apps and hooks.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use url::Url;

use crate::error::Error;

/// The id of a Bugfender app: the last number in the URL of the app in the dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AppId(i64);

/// The id of a hook at Bugfender. Without it the hook cannot be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct HookId(i64);

impl AppId {
    /// The id with this number, which must be at least 1.
    pub fn new(number: i64) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl HookId {
    /// The id with this number, which must be at least 1.
    pub fn new(number: i64) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for HookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Parses a number of at least 1 in plain digits.
fn positive(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|&number| number > 0)
}

impl FromStr for AppId {
    type Err = Error;

    /// Accepts the number, or the dashboard URL of the app, whose last number it is.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        positive(text).or_else(|| last_number_of_url(text)).map(Self).ok_or_else(|| {
            Error::usage("an app id is a positive integer, or the URL of the app in the dashboard")
                .hint("open the app in the Bugfender dashboard: its id is the last number in the address")
        })
    }
}

/// The last path segment that is a number. In single-page dashboards the path is in the fragment.
fn last_number_of_url(text: &str) -> Option<i64> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let fragment = url.fragment().and_then(|fragment| fragment.split('?').next()).unwrap_or_default();
    url.path().split('/').chain(fragment.split('/')).filter_map(positive).next_back()
}

impl FromStr for HookId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        positive(text.trim())
            .map(Self)
            .ok_or_else(|| Error::usage("a hook id is a positive integer").hint("`bugfender-hooks list` shows the ids"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_ids_are_numbers_or_dashboard_urls() {
        let parse = |text: &str| text.parse::<AppId>().map(AppId::get).ok();
        assert_eq!(parse("1234"), Some(1234));
        assert_eq!(parse(" 7 "), Some(7));
        assert_eq!(parse("https://dashboard.bugfender.com/app/1234"), Some(1234));
        assert_eq!(parse("https://dashboard.bugfender.com/team/5/app/1234/issues?page=9"), Some(1234));
        assert_eq!(parse("https://dashboard.bugfender.com/#/app/88/"), Some(88));
        assert_eq!(parse("https://dashboard.bugfender.com/team/5/#/app/88?tab=logs"), Some(88));
        for wrong in [
            "",
            "0",
            "-1",
            "+5",
            "1.5",
            "0x10",
            "99999999999999999999",
            "https://dashboard.bugfender.com/",
            "ftp://x/5",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}

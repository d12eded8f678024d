//! The ids of apps and hooks.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use serde::Serialize;

/// The id of a Bugfender app: its number, which subscriptions and deliveries have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AppId(i64);

/// An app as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppName {
    /// By its number.
    Number(AppId),
    /// By its public id, which the dashboard's addresses have in place of the number (seen in a published client).
    PublicId(String),
}

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

    /// Accepts the number, or the app's address in the dashboard if the number is in it.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.parse()? {
            AppName::Number(id) => Ok(id),
            // The hint is part of the message, as clap shows no other.
            AppName::PublicId(_) => Err(Error::usage(
                "this is an app's public id, and its number is required; `bugfender-hooks apps` shows it",
            )),
        }
    }
}

impl FromStr for AppName {
    type Err = Error;

    /// Accepts the number, the public id, or the app's address in the dashboard.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let name = if text.contains("://") { of_address(text) } else { Some(text) };
        name.and_then(of_name).ok_or_else(|| {
            Error::usage(
                "an app id is a positive integer, or the app's address in the dashboard; `bugfender-hooks apps` lists them",
            )
        })
    }
}

fn of_name(name: &str) -> Option<AppName> {
    if let Some(number) = positive(name) {
        return Some(AppName::Number(AppId(number)));
    }
    let is_public_id = (6..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        && name.bytes().any(|byte| byte.is_ascii_alphabetic());
    is_public_id.then(|| AppName::PublicId(name.to_owned()))
}

/// The segment after `/app/`. Numbers before it are other things: that of a team would be somebody else's app. In
/// single-page dashboards the path is in the fragment.
fn of_address(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let mut segments = rest.split(['/', '#', '?']).skip(1);
    segments.by_ref().find(|segment| *segment == "app")?;
    segments.next()
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
    fn the_dashboards_addresses_have_public_ids() {
        for text in [
            "https://dashboard.bugfender.com/3/app/DXtETPbMAq/logs",
            "HTTPS://dashboard.bugfender.com/3/app/DXtETPbMAq?x=1",
            " DXtETPbMAq ",
        ] {
            assert_eq!(text.parse::<AppName>().unwrap(), AppName::PublicId("DXtETPbMAq".to_owned()), "{text}");
        }
        for wrong in ["https://dashboard.bugfender.com/3/", "https://d.example/3/app/", "abc", "two words", "a/b/c/d/e"]
        {
            assert!(wrong.parse::<AppName>().is_err(), "{wrong}");
        }
        let error = "DXtETPbMAq".parse::<AppId>().unwrap_err();
        assert!(error.to_string().contains("public id"), "{error}");
    }

    #[test]
    fn app_ids_are_numbers_or_dashboard_urls() {
        let parse = |text: &str| text.parse::<AppId>().map(AppId::get).ok();
        assert_eq!(parse("1234"), Some(1234));
        assert_eq!(parse(" 7 "), Some(7));
        assert_eq!(parse("https://dashboard.bugfender.com/app/1234"), Some(1234));
        assert_eq!(parse("https://dashboard.bugfender.com/team/5/app/1234/issues?page=9"), Some(1234));
        assert_eq!(parse("https://dashboard.bugfender.com/#/app/88/"), Some(88));
        assert_eq!(parse("https://dashboard.bugfender.com/team/5/#/app/88?tab=logs"), Some(88));
        assert_eq!(parse("https://dashboard.bugfender.com/3/app/1234/logs/77"), Some(1234));
        for wrong in [
            "",
            "0",
            "-1",
            "+5",
            "1.5",
            "0x10",
            "99999999999999999999",
            "https://dashboard.bugfender.com/",
            "ftp://x/app/5",
            "https://dashboard.bugfender.com/5",
            "https://dashboard.bugfender.com/apps/5",
            "https://dashboard.bugfender.com/3/app/DXtETPbMAq/logs",
            "https://dashboard.bugfender.com/3/app/DXtETPbMAq/logs/5",
            "DXtETPbMAq",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}

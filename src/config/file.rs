//! The configuration file: which profiles there are and what they say.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml_edit::{Document, Item, TableLike, Value};

use super::{CredentialStore, StorePath, directories};
use crate::domain::{ApiOrigin, AppId, ProfileName, TargetUrl};
use crate::error::{Error, ErrorKind, Result};
use crate::platform;

/// What a profile can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The Bugfender installation.
    ApiUrl,
    /// The registry.
    Store,
    /// The certificate authorities of the installation.
    CaFile,
    /// Where `auth login` keeps what it was given.
    CredentialStore,
    /// The app of `subscribe` and `import` when they name none.
    AppId,
    /// Their endpoint when they name none.
    TargetUrl,
}

impl Key {
    /// Every key, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::ApiUrl, Self::Store, Self::CaFile, Self::CredentialStore, Self::AppId, Self::TargetUrl];

    /// The key as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiUrl => "api_url",
            Self::Store => "store",
            Self::CaFile => "ca_file",
            Self::CredentialStore => "credential_store",
            Self::AppId => "app_id",
            Self::TargetUrl => "target_url",
        }
    }
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|key| key.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Error::usage(format!("unknown key `{text}`")).hint(format!("a profile has these: {names}"))
        })
    }
}

/// What a profile says; `None` where it is silent.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// The Bugfender installation.
    pub api_url: Option<ApiOrigin>,
    /// The registry.
    pub store: Option<StorePath>,
    /// A PEM file of certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// Where `auth login` keeps what it was given.
    pub credential_store: Option<CredentialStore>,
    /// The app of `subscribe` and `import` when they name none.
    pub app_id: Option<AppId>,
    /// Their endpoint when they name none.
    pub target_url: Option<TargetUrl>,
}

impl Profile {
    /// The value of a key as it may be shown.
    pub fn shown(&self, key: Key) -> Option<String> {
        match key {
            Key::ApiUrl => self.api_url.as_ref().map(ToString::to_string),
            Key::Store => self.store.as_ref().map(ToString::to_string),
            Key::CaFile => self.ca_file.as_ref().map(|path| path.display().to_string()),
            Key::CredentialStore => self.credential_store.map(|store| store.to_string()),
            Key::AppId => self.app_id.map(|app| app.to_string()),
            Key::TargetUrl => self.target_url.as_ref().map(|url| url.redacted().into_owned()),
        }
    }

    /// Takes a value as text. Paths that are not absolute are seen from `dir`.
    ///
    /// # Errors
    /// A usage error, which does not repeat a value that may be secret.
    pub(super) fn set(&mut self, key: Key, text: &str, dir: &Path) -> Result<()> {
        match key {
            Key::ApiUrl => self.api_url = Some(text.parse()?),
            Key::Store => self.store = Some(text.parse::<StorePath>()?.from_dir(dir)),
            Key::CaFile if text.is_empty() => return Err(Error::usage("the path is empty")),
            Key::CaFile => self.ca_file = Some(dir.join(text)),
            Key::CredentialStore => self.credential_store = Some(text.parse()?),
            Key::AppId => self.app_id = Some(text.parse()?),
            Key::TargetUrl => self.target_url = Some(whole(text.parse()?)?),
        }
        Ok(())
    }
}

fn whole(url: TargetUrl) -> Result<TargetUrl> {
    if url.is_redacted() {
        return Err(Error::usage("the password in the target URL is hidden (****)").hint("give the whole URL"));
    }
    Ok(url)
}

const WHERE: &str = "`bugfender-hooks config path` says where the file is; edit it, or move it away";

/// The file `config.toml`, read.
#[derive(Debug, Clone, Default)]
pub struct ConfigFile {
    /// The profile to use when nobody says otherwise.
    pub active: Option<ProfileName>,
    /// The profiles, by name.
    pub profiles: BTreeMap<ProfileName, Profile>,
}

impl ConfigFile {
    /// Reads the file at its place; one that is not there says nothing.
    ///
    /// # Errors
    /// A usage error that names the line, for what cannot be understood.
    pub fn load() -> Result<Self> {
        directories::config_file().map_or(Ok(Self::default()), |path| Self::read(&path))
    }

    /// Reads a file; one that is not there says nothing.
    ///
    /// # Errors
    /// A usage error that names the line, for what cannot be understood.
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = |what: &str| Error::usage(format!("{}: {what}", path.display())).hint(WHERE);
        let read = || -> io::Result<Option<String>> {
            match fs::metadata(path) {
                // One that is a pipe would be waited for.
                Ok(place) if place.is_file() => fs::read_to_string(path).map(Some),
                Ok(_) => Err(io::Error::other("it is not a file")),
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        };
        let unreadable = |error: io::Error| {
            let message = format!("{}: {error}", path.display());
            Error::usage(message).hint("it must be a file that you can read, or not be there").source(error)
        };
        let Some(text) = read().map_err(unreadable)? else {
            return Ok(Self::default());
        };
        let config = Self::parse(&text, path)?;
        let has_secret = |profile: &Profile| profile.target_url.as_ref().is_some_and(TargetUrl::has_secret);
        if config.profiles.values().any(has_secret)
            && platform::tighten(path, platform::OTHERS).map_err(|error| wrong(&error.to_string()))?
        {
            tracing::warn!(
                "{} holds a password and was open to others; its permissions are tightened now",
                path.display()
            );
        }
        Ok(config)
    }

    pub(super) fn parse(text: &str, path: &Path) -> Result<Self> {
        let place = KeyPath { text, path };
        let document = Document::parse(text).map_err(|error| place.error(error.span(), error.message()))?;
        let mut config = Self::default();
        for (name, item) in document.as_table() {
            let span = || span_of(document.as_table(), name);
            match name {
                "profile" => {
                    let value =
                        text_of(item).ok_or_else(|| place.error(span(), "`profile` is the name of a profile"))?;
                    let profile = value.parse::<ProfileName>();
                    config.active = Some(profile.map_err(|error| place.error(span(), &error.to_string()))?);
                }
                "profiles" => {
                    let table = item.as_table_like();
                    let table = table.ok_or_else(|| place.error(span(), "`profiles` is a table of profiles"))?;
                    config.profiles = profiles(table, &place)?;
                }
                _ => {
                    let message = format!(
                        "unknown key `{}`; settings stand under [profiles.default] or another profile",
                        shown_name(name)
                    );
                    return Err(place.error(span(), &message));
                }
            }
        }
        Ok(config)
    }

    /// Whether there is such a profile. The default one always is.
    pub fn knows(&self, name: &ProfileName) -> bool {
        name.is_default() || self.profiles.contains_key(name)
    }

    /// Why a profile cannot be used.
    pub fn unknown(&self, name: &ProfileName, source: impl fmt::Display) -> Error {
        let known = self.profiles.keys().filter(|known| !known.is_default()).map(ProfileName::as_str);
        let known: Vec<&str> = std::iter::once(ProfileName::DEFAULT).chain(known).collect();
        Error::usage(format!("there is no profile `{name}` ({source})")).hint(format!(
            "the profiles are: {}; `auth switch` chooses one, and `auth login --profile {name}` makes this one",
            known.join(", ")
        ))
    }
}

fn profiles(table: &dyn TableLike, place: &KeyPath) -> Result<BTreeMap<ProfileName, Profile>> {
    let mut profiles = BTreeMap::new();
    let dir = place.path.parent().unwrap_or(Path::new("."));
    for (name, item) in table.iter() {
        let span = span_of(table, name);
        let profile_name =
            name.parse::<ProfileName>().map_err(|error| place.error(span.clone(), &error.to_string()))?;
        let entries = item.as_table_like();
        let entries = entries.ok_or_else(|| place.error(span, "a profile is a table of settings"))?;
        let mut profile = Profile::default();
        for (key_name, value) in entries.iter() {
            let span = || span_of(entries, key_name);
            let key: Key = shown_name(key_name)
                .parse()
                .map_err(|error: Error| place.error(span(), &format!("{error}; {}", error.hints().join("; "))))?;
            let text = text_of(value).ok_or_else(|| {
                place.error(span(), &format!("`{}` is neither a text nor a whole number", shown_name(key_name)))
            })?;
            profile.set(key, &text, dir).map_err(|error| place.error(span(), &format!("`{key_name}`: {error}")))?;
        }
        profiles.insert(profile_name, profile);
    }
    Ok(profiles)
}

/// A key as it may be shown: what stands in the wrong place may be a secret, and this is no name.
fn shown_name(name: &str) -> &str {
    let plain = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if plain { name } else { "…" }
}

/// The value as text; numbers are as good.
fn text_of(item: &Item) -> Option<String> {
    match item.as_value()? {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        _ => None,
    }
}

fn span_of(table: &dyn TableLike, name: &str) -> Option<Range<usize>> {
    table.get_key_value(name).and_then(|(key, item)| key.span().or_else(|| item.span()))
}

/// A file and its text, for errors that say where.
struct KeyPath<'a> {
    text: &'a str,
    path: &'a Path,
}

impl KeyPath<'_> {
    /// An error at a place in the text. The text itself is not repeated: it may hold a password.
    fn error(&self, span: Option<Range<usize>>, message: &str) -> Error {
        let line = span.map(|span| self.text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1);
        let line = line.map_or_else(String::new, |line| format!(", line {line}"));
        let message = message.lines().next().unwrap_or_default();
        Error::new(ErrorKind::Usage, format!("{}{line}: {message}", self.path.display())).hint(WHERE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile> {
        ConfigFile::parse(text, Path::new("/etc/bf/config.toml"))
    }

    #[test]
    fn profiles_are_read_with_paths_seen_from_the_file() {
        let text = "profile = 'work'\n[profiles.work]\napi_url = 'https://bf.example/api'\nstore = 'sqlite:hooks.db'\n\
                    ca_file = 'ca.pem'\ncredential_store = 'file'\napp_id = 1001\ntarget_url = 'https://a.example/x'\n\
                    [profiles.other]\n";
        let config = parse(text).unwrap();
        assert_eq!(config.active.as_ref().unwrap().as_str(), "work");
        let work = &config.profiles[&"work".parse().unwrap()];
        let shown: Vec<String> = Key::ALL.into_iter().filter_map(|key| work.shown(key)).collect();
        let beside = |name| Path::new("/etc/bf").join(name).display().to_string();
        let store = format!("sqlite:{}", beside("hooks.db"));
        let expected = ["https://bf.example", &store, &beside("ca.pem"), "file", "1001", "https://a.example/x"];
        assert_eq!(shown, expected);
        assert!(config.knows(&"other".parse().unwrap()) && config.knows(&ProfileName::default()));
        assert!(!config.knows(&"nope".parse().unwrap()));
    }

    #[test]
    fn errors_name_the_line_and_no_secret() {
        for (text, line, says) in [
            ("\nprofil = 'x'", 2, "unknown key `profil`"),
            ("[profiles.a]\n\napi = 'x'", 3, "unknown key `api`"),
            ("[profiles.a]\napp_id = 'x'", 2, "`app_id`: an app id is"),
            ("[profiles.a]\napp_id = true", 2, "neither a text nor a whole number"),
            ("[profiles.a]\ntarget_url = 'ftp://u:s3cret@x/'", 2, "must begin with"),
            ("[profiles.a]\ntarget_url = 's3cret", 2, ""),
            ("[profiles.A]\n", 1, "lower-case"),
            ("profiles = 3", 1, "table of profiles"),
            ("profile = 3.5", 1, "name of a profile"),
            ("[profiles.a]\n\"https://u:s3cret@x\" = 1", 2, "unknown key"),
        ] {
            let error = parse(text).unwrap_err();
            let start = format!("/etc/bf/config.toml, line {line}: ");
            assert!(error.to_string().starts_with(&start), "{text}: {error}");
            assert!(error.to_string().contains(says), "{text}: {error}");
            assert!(!format!("{error}{:?}", error.hints()).contains("s3cret"), "{text}: {error}");
        }
    }
}

//! The configuration file and its profiles.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml_edit::{Document, Item, TableLike, Value};

use super::toml_text::{TomlText, shown_key, span_of};
use super::{CredentialStore, StoreUrl, directories};
use crate::domain::{ApiOrigin, AppId, ProfileName, TargetUrl};
use crate::error::{Error, Result};
use crate::platform;

/// A setting of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The Bugfender installation.
    ApiUrl,
    /// The registry.
    Store,
    /// The certificate authorities for the installation.
    CaFile,
    /// Where `auth login` stores credentials.
    CredentialStore,
    /// The default app of `subscribe` and `import`.
    AppId,
    /// The default endpoint of `subscribe` and `import`.
    TargetUrl,
}

impl Key {
    /// All keys, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::ApiUrl, Self::Store, Self::CaFile, Self::CredentialStore, Self::AppId, Self::TargetUrl];

    /// The name of the key.
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

    /// Its meaning, for the documentation.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::ApiUrl => "The Bugfender installation (--api-url)",
            Self::Store => "Registry and inbox, as --store takes them; a relative path is relative to the file",
            Self::CaFile => "A PEM file of certificate authorities (--ca-file); relative to the file",
            Self::CredentialStore => "Where `auth login` keeps the sign-in: auto, keyring or file (--credential-store)",
            Self::AppId => "The app of `subscribe` and `import` if none is given (--app-id)",
            Self::TargetUrl => "The endpoint of `subscribe` and `import` if none is given (--target-url)",
        }
    }
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|key| key.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Error::usage(format!("unknown key `{text}`")).hint(format!("the keys of a profile are {names}"))
        })
    }
}

/// The settings of a profile; `None` if not set.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// The Bugfender installation.
    pub api_url: Option<ApiOrigin>,
    /// The registry.
    pub store: Option<StoreUrl>,
    /// A PEM file of certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// Where `auth login` stores credentials.
    pub credential_store: Option<CredentialStore>,
    /// The default app of `subscribe` and `import`.
    pub app_id: Option<AppId>,
    /// The default endpoint of `subscribe` and `import`.
    pub target_url: Option<TargetUrl>,
}

impl Profile {
    /// The value of a key, with passwords redacted.
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

    /// Sets a key to a value given as text. Relative paths are resolved against `dir`.
    ///
    /// # Errors
    /// A usage error, which does not repeat the value, as it may be secret.
    pub(super) fn set(&mut self, key: Key, text: &str, dir: &Path) -> Result<()> {
        match key {
            Key::ApiUrl => self.api_url = Some(text.parse()?),
            Key::Store => self.store = Some(text.parse::<StoreUrl>()?.from_dir(dir)),
            Key::CaFile if text.is_empty() => return Err(Error::usage("the path is empty")),
            Key::CaFile => self.ca_file = Some(dir.join(text)),
            Key::CredentialStore => self.credential_store = Some(text.parse()?),
            Key::AppId => self.app_id = Some(text.parse()?),
            Key::TargetUrl => self.target_url = Some(unredacted(text.parse()?)?),
        }
        Ok(())
    }
}

fn unredacted(url: TargetUrl) -> Result<TargetUrl> {
    if url.is_redacted() {
        return Err(
            Error::usage("the password in the target URL is redacted (****)").hint("use the URL with its password")
        );
    }
    Ok(url)
}

const WHERE: &str = "`bugfender-hooks config path` prints the path of the file; correct it, or move it away";

/// The contents of `config.toml`.
#[derive(Debug, Clone, Default)]
pub struct ConfigFile {
    /// The active profile, which is used unless another is selected.
    pub active: Option<ProfileName>,
    /// The profiles, by name.
    pub profiles: BTreeMap<ProfileName, Profile>,
}

impl ConfigFile {
    /// Reads the file in the configuration directory; a missing one is empty.
    ///
    /// # Errors
    /// A usage error that names the line, for an invalid file.
    pub fn load() -> Result<Self> {
        directories::config_file().map_or(Ok(Self::default()), |path| Self::read(&path))
    }

    /// Reads a file; a missing one is empty.
    ///
    /// # Errors
    /// A usage error that names the line, for an invalid file.
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = |what: &str| Error::usage(format!("{}: {what}", path.display())).hint(WHERE);
        let read = || -> io::Result<Option<String>> {
            match fs::metadata(path) {
                // Opening a named pipe would block.
                Ok(metadata) if metadata.is_file() => fs::read_to_string(path).map(Some),
                Ok(_) => Err(io::Error::other("not a regular file")),
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        };
        let unreadable = |error: io::Error| {
            let message = format!("{}: {error}", path.display());
            Error::usage(message).hint("make the file readable, or remove it").source(error)
        };
        let Some(text) = read().map_err(unreadable)? else {
            return Ok(Self::default());
        };
        let config = Self::parse(&text, path)?;
        let has_secret = |profile: &Profile| {
            let in_store = profile.store.as_ref().and_then(StoreUrl::password).is_some();
            in_store || profile.target_url.as_ref().is_some_and(TargetUrl::has_secret)
        };
        if config.profiles.values().any(has_secret)
            && platform::tighten(path, platform::OTHERS).map_err(|error| wrong(&error.to_string()))?
        {
            tracing::warn!(
                "{} contains a password and was accessible to other users; its permissions have been restricted",
                path.display()
            );
        }
        Ok(config)
    }

    pub(super) fn parse(text: &str, path: &Path) -> Result<Self> {
        Self::parse_text(&TomlText { text, path }).map_err(|error| error.hint(WHERE))
    }

    fn parse_text(context: &TomlText) -> Result<Self> {
        let document = Document::parse(context.text).map_err(|error| context.error(error.span(), error.message()))?;
        let mut config = Self::default();
        for (name, item) in document.as_table() {
            let span = || span_of(document.as_table(), name);
            match name {
                "profile" => {
                    let value = text_of(item)
                        .ok_or_else(|| context.error(span(), "`profile` must be the name of a profile"))?;
                    let profile = value.parse::<ProfileName>();
                    config.active = Some(profile.map_err(|error| context.error(span(), &error.to_string()))?);
                }
                "profiles" => {
                    let table = item.as_table_like();
                    let table = table.ok_or_else(|| context.error(span(), "`profiles` must be a table of profiles"))?;
                    config.profiles = profiles(table, context)?;
                }
                _ => {
                    let message = format!(
                        "unknown key `{}`; settings belong in [profiles.default] or another profile",
                        shown_key(name)
                    );
                    return Err(context.error(span(), &message));
                }
            }
        }
        Ok(config)
    }

    /// Whether a profile exists. The default one always does.
    pub fn knows(&self, name: &ProfileName) -> bool {
        name.is_default() || self.profiles.contains_key(name)
    }

    /// The error for a profile that does not exist.
    pub fn unknown(&self, name: &ProfileName, source: impl fmt::Display) -> Error {
        let known = self.profiles.keys().filter(|known| !known.is_default()).map(ProfileName::as_str);
        let known: Vec<&str> = std::iter::once(ProfileName::DEFAULT).chain(known).collect();
        Error::usage(format!("there is no profile `{name}` ({source})")).hint(format!(
            "the profiles are {}; `auth switch` selects one, and `auth login --profile {name}` creates this one",
            known.join(", ")
        ))
    }
}

fn profiles(table: &dyn TableLike, context: &TomlText) -> Result<BTreeMap<ProfileName, Profile>> {
    let mut profiles = BTreeMap::new();
    let dir = context.dir();
    for (name, item) in table.iter() {
        let span = span_of(table, name);
        let profile_name =
            name.parse::<ProfileName>().map_err(|error| context.error(span.clone(), &error.to_string()))?;
        let entries = item.as_table_like();
        let entries = entries.ok_or_else(|| context.error(span, "a profile must be a table of settings"))?;
        let mut profile = Profile::default();
        for (key_name, value) in entries.iter() {
            let span = || span_of(entries, key_name);
            let key: Key = shown_key(key_name)
                .parse()
                .map_err(|error: Error| context.error(span(), &format!("{error}; {}", error.hints().join("; "))))?;
            let text = text_of(value).ok_or_else(|| {
                context.error(span(), &format!("`{}` must be a string or an integer", shown_key(key_name)))
            })?;
            profile.set(key, &text, dir).map_err(|error| context.error(span(), &format!("`{key_name}`: {error}")))?;
        }
        profiles.insert(profile_name, profile);
    }
    Ok(profiles)
}

/// A string or an integer as text.
fn text_of(item: &Item) -> Option<String> {
    match item.as_value()? {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile> {
        ConfigFile::parse(text, Path::new("/etc/bf/config.toml"))
    }

    #[test]
    fn relative_paths_are_resolved_against_the_directory_of_the_file() {
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
            ("[profiles.a]\napp_id = true", 2, "must be a string or an integer"),
            ("[profiles.a]\ntarget_url = 'ftp://u:s3cret@x/'", 2, "must start with"),
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

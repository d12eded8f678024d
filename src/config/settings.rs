//! From flags, environment and defaults to settings, each with its source.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::{Environment, directories, environment};
use crate::domain::ApiOrigin;
use crate::error::Error;

/// How long a request may take when nobody says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the value of a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// This flag.
    Flag(&'static str),
    /// This environment variable.
    Environment(&'static str),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Environment(name) => f.write_str(name),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and its source.
#[derive(Debug, Clone)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub source: Source,
}

/// Where a registry is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePath(PathBuf);

impl StorePath {
    /// The SQLite file.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl FromStr for StorePath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let path = text.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
        match path {
            Some(path) if !path.is_empty() && !path.starts_with(':') => Ok(Self(PathBuf::from(path))),
            // The text may be a URL with a password in it.
            _ => Err(Error::usage("the store is not one that this tool knows")
                .hint("write --store sqlite:PATH, such as sqlite:ci/hooks.db")),
        }
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite:{}", self.0.display())
    }
}

/// What the command line says; `None` where it is silent.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--api-url`.
    pub api_url: Option<String>,
    /// `--store`.
    pub store: Option<String>,
    /// `--timeout`.
    pub timeout: Option<Duration>,
    /// `--allow-http`.
    pub allow_http: bool,
}

/// The settings of one run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which installation.
    pub api: Sourced<ApiOrigin>,
    /// Which registry; `None` is the file in the data directory, looked up when it is needed.
    pub store: Sourced<Option<StorePath>>,
    /// The longest time for one request; when given, for all its attempts together.
    pub timeout: Sourced<Duration>,
    /// Whether plain http may leave this machine.
    pub allow_http: bool,
}

impl Settings {
    /// Resolves them: flag, then environment, then default.
    ///
    /// # Errors
    /// A usage error that names the flag or variable with the bad value.
    pub fn resolve(flags: &Overrides, environment: &Environment) -> Result<Self, Error> {
        let api = pick("--api-url", flags.api_url.as_deref(), environment::API_URL, environment)?;
        let store = pick("--store", flags.store.as_deref(), environment::STORE, environment)?;
        let timeout = flags.timeout.map(|value| Sourced { value, source: Source::Flag("--timeout") });
        let api = match api {
            Some(api) => api,
            None => Sourced { value: ApiOrigin::HOSTED.parse()?, source: Source::Default },
        };
        Ok(Self {
            api,
            store: store.map_or(Sourced { value: None, source: Source::Default }, |store| Sourced {
                value: Some(store.value),
                source: store.source,
            }),
            timeout: timeout.unwrap_or(Sourced { value: DEFAULT_TIMEOUT, source: Source::Default }),
            allow_http: flags.allow_http,
        })
    }

    /// The registry's file.
    ///
    /// # Errors
    /// A store error when there is no home directory and no setting.
    pub fn store_path(&self) -> Result<StorePath, Error> {
        match &self.store.value {
            Some(store) => Ok(store.clone()),
            None => Ok(StorePath(directories::data_dir()?.join("registry.db"))),
        }
    }

    /// The time for all attempts of a request together, if somebody set one.
    pub fn total_timeout(&self) -> Option<Duration> {
        (self.timeout.source != Source::Default).then_some(self.timeout.value)
    }
}

/// The value of a flag or else of a variable, read; an error says which of them it was.
fn pick<T: FromStr<Err = Error>>(
    flag: &'static str,
    given: Option<&str>,
    variable: &'static str,
    environment: &Environment,
) -> Result<Option<Sourced<T>>, Error> {
    let (text, source) = match (given, environment.text(variable)?) {
        (Some(text), _) => (text, Source::Flag(flag)),
        (None, Some(text)) => (text, Source::Environment(variable)),
        (None, None) => return Ok(None),
    };
    let value = text.parse().map_err(|error: Error| {
        let named = Error::usage(format!("{source}: {error}"));
        error.hints().iter().fold(named, |named, hint| named.hint(hint.clone()))
    })?;
    Ok(Some(Sourced { value, source }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &'static [(&str, &str)]) -> Environment {
        Environment::from_lookup(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn a_flag_wins_over_the_environment_over_the_default() {
        let set = environment(&[("BUGFENDER_API_URL", "https://env.example/api"), ("BUGFENDER_HOOKS_STORE", "")]);
        let settings = Settings::resolve(&Overrides::default(), &set).unwrap();
        assert_eq!(settings.api.value.as_str(), "https://env.example");
        assert_eq!(settings.api.source, Source::Environment("BUGFENDER_API_URL"));
        assert_eq!(settings.store.source, Source::Default);

        let flags = Overrides { api_url: Some("https://flag.example".into()), ..Overrides::default() };
        let settings = Settings::resolve(&flags, &set).unwrap();
        assert_eq!(settings.api.value.as_str(), "https://flag.example");

        let settings = Settings::resolve(&Overrides::default(), &Environment::default()).unwrap();
        assert_eq!(settings.api.value.as_str(), ApiOrigin::HOSTED);
        assert_eq!(settings.total_timeout(), None);
    }

    #[test]
    fn errors_name_the_culprit_and_not_the_value() {
        let set = environment(&[("BUGFENDER_HOOKS_STORE", "postgres://u:s3cret@db/x")]);
        let error = Settings::resolve(&Overrides::default(), &set).unwrap_err();
        assert!(error.to_string().starts_with("BUGFENDER_HOOKS_STORE: "), "{error}");
        assert!(!error.to_string().contains("s3cret"));
    }
}

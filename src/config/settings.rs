//! Resolves flags, environment, configuration file and defaults to settings, each with its source.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::file::{ConfigFile, Profile};
use super::{CredentialStore, Environment, StoreUrl, directories, environment};
use crate::domain::{ApiOrigin, AppId, ProfileName, TargetUrl};
use crate::error::Error;

/// The default timeout of a request.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the value of a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A flag.
    Flag(&'static str),
    /// An environment variable.
    Environment(&'static str),
    /// The configuration file.
    Config,
    /// The default.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Environment(name) => f.write_str(name),
            Self::Config => f.write_str("config"),
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

/// The settings from the command line; `None` if not given.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--profile`.
    pub profile: Option<ProfileName>,
    /// `--api-url`.
    pub api_url: Option<String>,
    /// `--store`.
    pub store: Option<String>,
    /// `--require-store`.
    pub require_store: bool,
    /// `--ca-file`.
    pub ca_file: Option<PathBuf>,
    /// `--credential-store`.
    pub credential_store: Option<CredentialStore>,
    /// `--timeout`.
    pub timeout: Option<Duration>,
    /// `--allow-http`.
    pub allow_http: bool,
}

/// The settings of one run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The profile.
    pub profile: Sourced<ProfileName>,
    /// The installation.
    pub api: Sourced<ApiOrigin>,
    /// The registry; `None` for the default in the data directory, which is looked up when needed.
    pub store: Sourced<Option<StoreUrl>>,
    /// Whether a registry or inbox that does not exist is an error, and is not made.
    pub require_store: bool,
    /// A PEM file with the only certificate authorities to trust.
    pub ca_file: Sourced<Option<PathBuf>>,
    /// Where `auth login` stores credentials.
    pub credential_store: Sourced<CredentialStore>,
    /// The timeout of one attempt; if set with `--timeout`, of all attempts of a request together.
    pub timeout: Sourced<Duration>,
    /// Whether plain http to other machines is allowed.
    pub allow_http: bool,
    /// The default app of `subscribe` and `import`.
    pub app_id: Option<AppId>,
    /// The default endpoint of `subscribe` and `import`.
    pub target_url: Option<TargetUrl>,
}

impl Settings {
    /// Resolves the settings: flag, then environment, then profile, then default.
    ///
    /// # Errors
    /// A usage error that names the flag or variable with the invalid value.
    pub fn resolve(flags: &Overrides, environment: &Environment, config: &ConfigFile) -> Result<Self, Error> {
        let profile = profile(flags, environment, config)?;
        let settings = config.profiles.get(&profile.value).cloned().unwrap_or_default();
        let Profile { api_url, store, ca_file, credential_store, app_id, target_url } = settings;
        let api = pick("--api-url", flags.api_url.as_deref(), environment::API_URL, environment)?;
        // The defaults of a profile apply only to the installation of that profile.
        let elsewhere = matches!((&api, &api_url), (Some(api), Some(own)) if api.value != *own);
        let (app_id, target_url) = if elsewhere { (None, None) } else { (app_id, target_url) };
        let api = match api.or_else(|| of_config(api_url)) {
            Some(api) => api,
            None => Sourced { value: ApiOrigin::HOSTED.parse()?, source: Source::Default },
        };
        let mut store = Sourced::maybe(given_store(flags, environment)?.or_else(|| of_config(store)));
        if store.value.is_none() && environment.has(environment::HOME) {
            store.source = Source::Environment(environment::HOME);
        }
        Ok(Self {
            profile,
            api,
            store,
            require_store: flags.require_store || environment.switch(environment::REQUIRE_STORE)?,
            ca_file: Sourced::maybe(of_flag("--ca-file", flags.ca_file.clone()).or_else(|| of_config(ca_file))),
            credential_store: of_flag("--credential-store", flags.credential_store)
                .or_else(|| of_config(credential_store))
                .unwrap_or(Sourced { value: CredentialStore::Auto, source: Source::Default }),
            timeout: of_flag("--timeout", flags.timeout)
                .unwrap_or(Sourced { value: DEFAULT_TIMEOUT, source: Source::Default }),
            allow_http: flags.allow_http,
            app_id,
            target_url,
        })
    }

    /// The location of the store.
    ///
    /// # Errors
    /// A store error when there is no home directory and no setting.
    pub fn store_url(&self) -> Result<StoreUrl, Error> {
        if let Some(store) = &self.store.value {
            return Ok(store.clone());
        }
        let profile = &self.profile.value;
        let name = if profile.is_default() { "registry.db".to_owned() } else { format!("registry-{profile}.db") };
        Ok(StoreUrl::Sqlite(directories::data_dir()?.join(name)))
    }

    /// The timeout of all attempts of a request together, if set.
    pub fn total_timeout(&self) -> Option<Duration> {
        (self.timeout.source != Source::Default).then_some(self.timeout.value)
    }
}

impl<T> Sourced<Option<T>> {
    fn maybe(given: Option<Sourced<T>>) -> Self {
        given.map_or(Self { value: None, source: Source::Default }, |given| Self {
            value: Some(given.value),
            source: given.source,
        })
    }
}

/// The selected profile, which need not exist, as some commands create it.
fn profile(flags: &Overrides, environment: &Environment, config: &ConfigFile) -> Result<Sourced<ProfileName>, Error> {
    let given = flags.profile.as_ref().map(ProfileName::as_str);
    let given = pick("--profile", given, environment::PROFILE, environment)?;
    let default = || Sourced { value: ProfileName::default(), source: Source::Default };
    Ok(given.or_else(|| of_config(config.active.clone())).unwrap_or_else(default))
}

/// The store of the flag, else of the variable.
fn given_store(flags: &Overrides, environment: &Environment) -> Result<Option<Sourced<StoreUrl>>, Error> {
    let (location, source) = match (&flags.store, environment.text(environment::STORE)?) {
        (Some(text), _) => (StoreUrl::of_command_line(text), Source::Flag("--store")),
        (None, Some(text)) => (StoreUrl::given(text), Source::Environment(environment::STORE)),
        (None, None) => return Ok(None),
    };
    Ok(Some(Sourced { value: location.map_err(|error| error.about(source))?, source }))
}

fn of_flag<T>(flag: &'static str, value: Option<T>) -> Option<Sourced<T>> {
    value.map(|value| Sourced { value, source: Source::Flag(flag) })
}

fn of_config<T>(value: Option<T>) -> Option<Sourced<T>> {
    value.map(|value| Sourced { value, source: Source::Config })
}

/// The parsed value of a flag, else of a variable; an error names the one that is invalid.
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
    let value = text.parse().map_err(|error: Error| error.about(source))?;
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
        let settings = Settings::resolve(&Overrides::default(), &set, &ConfigFile::default()).unwrap();
        assert_eq!(settings.api.value.as_str(), "https://env.example");
        assert_eq!(settings.api.source, Source::Environment("BUGFENDER_API_URL"));
        assert_eq!(settings.store.source, Source::Default);

        let flags = Overrides { api_url: Some("https://flag.example".into()), ..Overrides::default() };
        let settings = Settings::resolve(&flags, &set, &ConfigFile::default()).unwrap();
        assert_eq!(settings.api.value.as_str(), "https://flag.example");

        let settings =
            Settings::resolve(&Overrides::default(), &Environment::default(), &ConfigFile::default()).unwrap();
        assert_eq!(settings.api.value.as_str(), ApiOrigin::HOSTED);
        assert_eq!(settings.total_timeout(), None);
    }

    #[test]
    fn a_profile_comes_between_environment_and_default() {
        let text = "profile = 'work'\n[profiles.work]\napi_url = 'https://work.example'\n[profiles.'0']\n";
        let config = ConfigFile::parse(text, "c.toml".as_ref()).unwrap();
        let settings = Settings::resolve(&Overrides::default(), &Environment::default(), &config).unwrap();
        assert_eq!((settings.api.value.as_str(), settings.api.source), ("https://work.example", Source::Config));
        assert_eq!(settings.store_url().unwrap().file().unwrap().file_name(), Some("registry-work.db".as_ref()));

        let set = environment(&[("BUGFENDER_API_URL", "https://env.example"), ("BUGFENDER_HOOKS_PROFILE", "0")]);
        let settings = Settings::resolve(&Overrides::default(), &set, &config).unwrap();
        assert_eq!(settings.profile.source, Source::Environment("BUGFENDER_HOOKS_PROFILE"));
        assert_eq!((settings.api.value.as_str(), settings.profile.value.as_str()), ("https://env.example", "0"));

        let flags = Overrides { profile: Some(ProfileName::default()), ..Overrides::default() };
        let settings = Settings::resolve(&flags, &Environment::default(), &config).unwrap();
        assert_eq!((settings.api.value.as_str(), settings.api.source), (ApiOrigin::HOSTED, Source::Default));
    }

    #[test]
    fn errors_name_the_variable_and_not_the_value() {
        let set = environment(&[("BUGFENDER_HOOKS_STORE", "postgres://u:s3cret@db:x/x")]);
        let error = Settings::resolve(&Overrides::default(), &set, &ConfigFile::default()).unwrap_err();
        assert!(error.to_string().starts_with("BUGFENDER_HOOKS_STORE: "), "{error}");
        assert!(!error.to_string().contains("s3cret"));
    }
}

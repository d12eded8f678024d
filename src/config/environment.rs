//! All environment variables that the tool reads. How they rank against flags and the configuration file: `settings`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::PostgresUrl;
use crate::error::Error;

/// A variable: its name and meaning.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// The name.
    pub name: &'static str,
    /// Its meaning, for `help environment` and the README.
    pub meaning: &'static str,
}

/// The Bugfender installation.
pub const API_URL: &str = "BUGFENDER_API_URL";
/// The access token.
pub const API_TOKEN: &str = "BUGFENDER_API_TOKEN";
/// The refresh token.
pub const REFRESH_TOKEN: &str = "BUGFENDER_REFRESH_TOKEN";
/// The client id of a service account.
pub const CLIENT_ID: &str = "BUGFENDER_CLIENT_ID";
/// The client secret of a service account.
pub const CLIENT_SECRET: &str = "BUGFENDER_CLIENT_SECRET";
/// A file that contains the client secret.
pub const CLIENT_SECRET_FILE: &str = "BUGFENDER_CLIENT_SECRET_FILE";
/// A file that contains the private key of a service account.
pub const PRIVATE_KEY_FILE: &str = "BUGFENDER_PRIVATE_KEY_FILE";
/// The directory for all files of the tool.
pub const HOME: &str = "BUGFENDER_HOOKS_HOME";
/// The profile to use.
pub const PROFILE: &str = "BUGFENDER_HOOKS_PROFILE";
/// The location of the registry.
pub const STORE: &str = "BUGFENDER_HOOKS_STORE";
/// Whether the store must exist.
pub const REQUIRE_STORE: &str = "BUGFENDER_HOOKS_REQUIRE_STORE";
/// The secrets for Luciq's signatures.
pub const LUCIQ_SECRET: &str = "BUGFENDER_HOOKS_LUCIQ_SECRET";
/// The same, under Luciq's former name.
pub const INSTABUG_SECRET: &str = "BUGFENDER_HOOKS_INSTABUG_SECRET";
/// The host of the PostgreSQL server that the store is on.
pub const PGHOST: &str = "PGHOST";
/// Its port.
pub const PGPORT: &str = "PGPORT";
/// The user of the database.
pub const PGUSER: &str = "PGUSER";
/// The database.
pub const PGDATABASE: &str = "PGDATABASE";
/// The password of the user.
pub const PGPASSWORD: &str = "PGPASSWORD";
/// A file with passwords.
pub const PGPASSFILE: &str = "PGPASSFILE";
/// How TLS is used.
pub const PGSSLMODE: &str = "PGSSLMODE";
/// The certificate authorities of the server.
pub const PGSSLROOTCERT: &str = "PGSSLROOTCERT";
/// What the server calls the connections.
pub const PGAPPNAME: &str = "PGAPPNAME";
/// How long connecting may take, in seconds.
pub const PGCONNECT_TIMEOUT: &str = "PGCONNECT_TIMEOUT";
/// Requests completions; set by the scripts that `completions` prints.
pub const COMPLETE: &str = "BUGFENDER_HOOKS_COMPLETE";

/// Set only by the completion script for bash.
const COMPLETES_IN_BASH: &str = "_CLAP_COMPLETE_COMP_TYPE";

/// Set by a script for bash that quotes what it is offered.
const SCRIPT_QUOTES: &str = "_BUGFENDER_HOOKS_SCRIPT_QUOTES";

/// The directory for all files of the tool, if set.
pub fn home() -> Option<PathBuf> {
    std::env::var_os(HOME).filter(|directory| !directory.is_empty()).map(PathBuf::from)
}

/// Whether a shell requests completions.
pub fn asks_for_completions() -> bool {
    std::env::var_os(COMPLETE).is_some()
}

/// Whether bash requests completions by a script of an earlier version, which gets what it offers quoted.
pub fn completes_quoted_in_bash() -> bool {
    std::env::var_os(COMPLETES_IN_BASH).is_some() && std::env::var_os(SCRIPT_QUOTES).is_none()
}

/// The variables that are always secret, which are removed from the environment of `--exec` commands.
const SECRETS: [&str; 6] = [API_TOKEN, REFRESH_TOKEN, CLIENT_SECRET, LUCIQ_SECRET, INSTABUG_SECRET, PGPASSWORD];

/// The variables with secrets at this moment: these, and the location of the store if it holds a password.
pub fn secrets() -> Vec<&'static str> {
    let store = std::env::var(STORE).ok().and_then(|store| PostgresUrl::parse(&store).ok());
    let with_password = store.is_some_and(|url| url.password().is_some());
    SECRETS.into_iter().chain(with_password.then_some(STORE)).collect()
}

/// All variables, including those read by libraries.
pub const ALL: &[Variable] = &[
    Variable { name: API_URL, meaning: "The Bugfender installation, with or without a trailing /api (--api-url)" },
    Variable { name: API_TOKEN, meaning: "The OAuth 2 access token; takes precedence over `auth login`" },
    Variable { name: REFRESH_TOKEN, meaning: "The OAuth 2 refresh token; its latest replacement is stored on disk" },
    Variable { name: CLIENT_ID, meaning: "A service account's client id, with one of the next three; no login needed" },
    Variable { name: CLIENT_SECRET, meaning: "The service account's client secret" },
    Variable { name: CLIENT_SECRET_FILE, meaning: "A file that contains the client secret" },
    Variable { name: PRIVATE_KEY_FILE, meaning: "A PEM file with the service account's RSA private key" },
    Variable {
        name: HOME,
        meaning: "One directory for everything: configuration, registry, inbox, credentials and cache",
    },
    Variable { name: PROFILE, meaning: "The configuration profile to use (--profile)" },
    Variable {
        name: STORE,
        meaning: "Registry and inbox, as sqlite:PATH, postgres://USER@HOST/DATABASE, or @FILE with such a URL (--store)",
    },
    Variable {
        name: REQUIRE_STORE,
        meaning: "1: never make a new registry or inbox, but fail if there is none (--require-store)",
    },
    Variable {
        name: LUCIQ_SECRET,
        meaning: "The secret for Luciq's signatures, for `listen`; two, separated by a comma, during a rotation",
    },
    Variable { name: INSTABUG_SECRET, meaning: "The same, under Luciq's former name; both may be set" },
    Variable { name: PGHOST, meaning: "For a store in PostgreSQL: the host, or the directory of its socket" },
    Variable { name: PGPORT, meaning: "The same: the port, 5432 if it is not set" },
    Variable { name: PGUSER, meaning: "The same: the user" },
    Variable { name: PGDATABASE, meaning: "The same: the database, named as the user if it is not set" },
    Variable { name: PGPASSWORD, meaning: "The same: the password" },
    Variable { name: PGPASSFILE, meaning: "The same: a file with passwords, ~/.pgpass if it is not set" },
    Variable { name: PGSSLMODE, meaning: "The same: how TLS is used; verify-full for other machines if it is not set" },
    Variable {
        name: PGSSLROOTCERT,
        meaning: "The same: a PEM file with the server's certificate authorities, or system (default: --ca-file)",
    },
    Variable { name: PGAPPNAME, meaning: "The same: what the server calls the connections" },
    Variable { name: PGCONNECT_TIMEOUT, meaning: "The same: how many seconds connecting may take" },
    Variable { name: COMPLETE, meaning: "Set by the shell completion scripts when they run the tool" },
    Variable { name: "NO_COLOR", meaning: "Disables colour if not empty" },
    Variable { name: "CLICOLOR_FORCE", meaning: "Enables colour even without a terminal if set and not 0" },
    Variable {
        name: "HTTPS_PROXY",
        meaning: "The proxy for https URLs, http:// or socks5://; also https_proxy, ALL_PROXY, all_proxy",
    },
    Variable { name: "HTTP_PROXY", meaning: "The proxy for http URLs; also http_proxy; never used for this machine" },
    Variable { name: "NO_PROXY", meaning: "Hosts that bypass the proxy; also no_proxy" },
    Variable {
        name: "SSL_CERT_FILE",
        meaning: "A PEM file of certificate authorities, in place of the system's (--ca-file)",
    },
    Variable { name: "SSL_CERT_DIR", meaning: "A directory of certificate authorities, in place of the system's" },
    Variable {
        name: "XDG_DATA_HOME",
        meaning: "On Linux, the parent of bugfender-hooks/ with the registry and credentials",
    },
    Variable { name: "XDG_CONFIG_HOME", meaning: "On Linux, the parent of bugfender-hooks/config.toml" },
    Variable {
        name: "XDG_CACHE_HOME",
        meaning: "On Linux, the parent of bugfender-hooks/ with the cached apps for completion",
    },
    Variable { name: "DBUS_SESSION_BUS_ADDRESS", meaning: "On Linux, the D-Bus session bus of the keyring" },
    Variable {
        name: "NOTIFY_SOCKET",
        meaning: "On Linux, the socket on which `listen` notifies systemd that it is ready",
    },
    Variable {
        name: "LISTEN_FDS",
        meaning: "On Unix, set by systemd when it passes a socket to `listen` (with LISTEN_PID)",
    },
    Variable {
        name: "DISPLAY",
        meaning: "On Linux, the graphical session, where `auth login --web` may find a browser",
    },
    Variable { name: "WAYLAND_DISPLAY", meaning: "The same, with Wayland" },
    Variable { name: "BROWSER", meaning: "On Linux, the browser that `auth login --web` opens" },
    Variable {
        name: "GITHUB_RUN_ID",
        meaning: "In GitHub Actions, who changes the registry (with GITHUB_SERVER_URL and GITHUB_REPOSITORY)",
    },
    Variable { name: "CI_JOB_URL", meaning: "The same in GitLab CI/CD" },
    Variable { name: "BUILD_URL", meaning: "The same in Jenkins" },
    Variable { name: "CIRCLE_BUILD_URL", meaning: "The same in CircleCI" },
    Variable { name: "BUILDKITE_BUILD_URL", meaning: "The same in Buildkite (with BUILDKITE_JOB_ID)" },
    Variable {
        name: "BUILD_BUILDID",
        meaning: "The same in Azure Pipelines (with SYSTEM_TEAMFOUNDATIONCOLLECTIONURI and SYSTEM_TEAMPROJECT)",
    },
    Variable {
        name: "BITBUCKET_BUILD_NUMBER",
        meaning: "The same in Bitbucket Pipelines (with BITBUCKET_REPO_FULL_NAME)",
    },
    Variable { name: "USER", meaning: "Outside CI, who changes the registry, at this host; also LOGNAME, USERNAME" },
    Variable { name: "COMPUTERNAME", meaning: "On Windows, the name of this host" },
];

/// What is read with some of [`ALL`], which name them.
const COMPANIONS: [&str; 8] = [
    "GITHUB_SERVER_URL",
    "GITHUB_REPOSITORY",
    "BUILDKITE_JOB_ID",
    "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI",
    "SYSTEM_TEAMPROJECT",
    "BITBUCKET_REPO_FULL_NAME",
    "LOGNAME",
    "USERNAME",
];

/// The values of [`ALL`] and their companions at the start of the command.
#[derive(Clone, Default)]
pub struct Environment {
    known: BTreeMap<&'static str, OsString>,
    /// What looks others up.
    others: Option<fn(&str) -> Option<OsString>>,
}

impl Environment {
    /// Reads them from the process. An empty variable counts as not set.
    pub fn of_process() -> Self {
        let lookup = |name: &str| std::env::var_os(name);
        Self { others: Some(lookup), ..Self::from_lookup(lookup) }
    }

    /// Reads them with a lookup function.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let names = ALL.iter().map(|variable| variable.name).chain(COMPANIONS);
        let set = |name| lookup(name).filter(|value| !value.is_empty()).map(|value| (name, value));
        Self { known: names.filter_map(set).collect(), others: None }
    }

    /// The value of a variable that a file of the user names. None if it is not set, empty or not valid Unicode.
    pub fn named(&self, name: &str) -> Option<String> {
        let value = self.known.get(name).cloned().or_else(|| self.others.and_then(|lookup| lookup(name)))?;
        value.into_string().ok().filter(|value| !value.is_empty())
    }

    /// The value of a variable, if set.
    ///
    /// # Errors
    /// A usage error when it is not valid Unicode.
    pub fn text(&self, name: &'static str) -> Result<Option<&str>, Error> {
        let Some(value) = self.known.get(name) else { return Ok(None) };
        let text = value.to_str().ok_or_else(|| Error::usage(format!("{name} is not valid Unicode")))?;
        Ok(Some(text))
    }

    /// Whether a variable switches something on; not if it is not set.
    ///
    /// # Errors
    /// A usage error when it is neither 1 or true, nor 0 or false.
    pub fn switch(&self, name: &'static str) -> Result<bool, Error> {
        match self.text(name)? {
            Some("1" | "true") => Ok(true),
            None | Some("0" | "false") => Ok(false),
            Some(_) => Err(Error::usage(format!("{name} must be 1 or 0"))),
        }
    }

    /// Whether a variable is set.
    pub fn has(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }
}

/// Shows names only, as values may be secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.known.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_is_explained() {
        for name in COMPANIONS {
            assert!(ALL.iter().any(|variable| variable.meaning.contains(name)), "{name}");
        }
    }
}

//! Every environment variable that the tool reads, named and explained in this one file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::error::Error;

/// A variable: its name and what it does.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// The name.
    pub name: &'static str,
    /// What it does, for `help environment` and the README.
    pub meaning: &'static str,
}

/// The installation to talk to.
pub const API_URL: &str = "BUGFENDER_API_URL";
/// The access token.
pub const API_TOKEN: &str = "BUGFENDER_API_TOKEN";
/// What a new access token is had for.
pub const REFRESH_TOKEN: &str = "BUGFENDER_REFRESH_TOKEN";
/// The client id of a service account.
pub const CLIENT_ID: &str = "BUGFENDER_CLIENT_ID";
/// The client secret of a service account.
pub const CLIENT_SECRET: &str = "BUGFENDER_CLIENT_SECRET";
/// A file that holds the client secret.
pub const CLIENT_SECRET_FILE: &str = "BUGFENDER_CLIENT_SECRET_FILE";
/// A file that holds the private key of a service account.
pub const PRIVATE_KEY_FILE: &str = "BUGFENDER_PRIVATE_KEY_FILE";
/// The directory of all that is kept.
pub const HOME: &str = "BUGFENDER_HOOKS_HOME";
/// The profile to use.
pub const PROFILE: &str = "BUGFENDER_HOOKS_PROFILE";
/// Where the registry is.
pub const STORE: &str = "BUGFENDER_HOOKS_STORE";
/// The secrets of Instabug's signatures.
pub const INSTABUG_SECRET: &str = "BUGFENDER_HOOKS_INSTABUG_SECRET";
/// Asks for completions; the scripts that `completions` prints set it.
pub const COMPLETE: &str = "BUGFENDER_HOOKS_COMPLETE";

/// What the completion script of bash sets, and those of other shells do not.
const COMPLETES_IN_BASH: &str = "_CLAP_COMPLETE_COMP_TYPE";

/// The directory that everything is to be kept in, if one is named.
pub fn home() -> Option<PathBuf> {
    std::env::var_os(HOME).filter(|directory| !directory.is_empty()).map(PathBuf::from)
}

/// Whether a shell asks for completions.
pub fn asks_for_completions() -> bool {
    std::env::var_os(COMPLETE).is_some()
}

/// Whether bash asks for completions.
pub fn completes_in_bash() -> bool {
    std::env::var_os(COMPLETES_IN_BASH).is_some()
}

/// Those that are secrets, which commands of others do not get to see.
pub const SECRETS: [&str; 4] = [API_TOKEN, REFRESH_TOKEN, CLIENT_SECRET, INSTABUG_SECRET];

/// All of them. Those of other makers are read by the libraries named in the text.
pub const ALL: &[Variable] = &[
    Variable { name: API_URL, meaning: "The Bugfender installation, with or without a trailing /api (--api-url)" },
    Variable { name: API_TOKEN, meaning: "The OAuth 2 access token; wins over what `auth login` was given" },
    Variable { name: REFRESH_TOKEN, meaning: "Renews the access token; the newest one of its line is kept on disk" },
    Variable {
        name: CLIENT_ID,
        meaning: "A service account's client id, with one of the next three; no login is needed",
    },
    Variable { name: CLIENT_SECRET, meaning: "The service account's client secret" },
    Variable { name: CLIENT_SECRET_FILE, meaning: "A file that holds the client secret" },
    Variable { name: PRIVATE_KEY_FILE, meaning: "A PEM file with the service account's RSA private key" },
    Variable { name: HOME, meaning: "Keeps everything in this one directory" },
    Variable { name: PROFILE, meaning: "The profile of the configuration to use (--profile)" },
    Variable {
        name: STORE,
        meaning: "Where the registry of hooks is, as sqlite:PATH; the inbox is beside it (--store)",
    },
    Variable {
        name: INSTABUG_SECRET,
        meaning: "The secret of Instabug's signatures, for `listen`; two with a comma between them while one is replaced",
    },
    Variable { name: COMPLETE, meaning: "Set by the shell completions when they call the tool" },
    Variable { name: "NO_COLOR", meaning: "No colour when set and not empty" },
    Variable { name: "CLICOLOR_FORCE", meaning: "Colour even off a terminal when set and not 0" },
    Variable {
        name: "HTTPS_PROXY",
        meaning: "The proxy for https URLs, http:// or socks5://; also https_proxy, ALL_PROXY, all_proxy",
    },
    Variable { name: "HTTP_PROXY", meaning: "The proxy for http URLs; also http_proxy; never used for this machine" },
    Variable { name: "NO_PROXY", meaning: "Hosts that are reached without a proxy; also no_proxy" },
    Variable {
        name: "SSL_CERT_FILE",
        meaning: "A PEM file of certificate authorities, instead of the system's (--ca-file)",
    },
    Variable { name: "SSL_CERT_DIR", meaning: "A directory of certificate authorities, instead of the system's" },
    Variable {
        name: "XDG_DATA_HOME",
        meaning: "On Linux, where bugfender-hooks/ with registry and credentials is kept",
    },
    Variable { name: "XDG_CONFIG_HOME", meaning: "On Linux, where bugfender-hooks/config.toml is" },
    Variable {
        name: "XDG_CACHE_HOME",
        meaning: "On Linux, where bugfender-hooks/ with the apps for completion is kept",
    },
    Variable { name: "DBUS_SESSION_BUS_ADDRESS", meaning: "On Linux, where the keyring answers" },
    Variable { name: "NOTIFY_SOCKET", meaning: "On Linux, where `listen` tells systemd that it is ready" },
    Variable { name: "LISTEN_FDS", meaning: "On Unix, that systemd hands `listen` its socket (with LISTEN_PID)" },
    Variable { name: "BROWSER", meaning: "On Linux, the browser that `auth login --web` opens" },
];

/// The variables of [`ALL`] as they stood when the command began.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<&'static str, OsString>);

impl Environment {
    /// Takes them from the process. An empty variable counts as not set.
    pub fn of_process() -> Self {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// Takes them from elsewhere.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |variable: &Variable| {
            let value = lookup(variable.name).filter(|value| !value.is_empty());
            value.map(|value| (variable.name, value))
        };
        Self(ALL.iter().filter_map(set).collect())
    }

    /// The variable's text, if it is set.
    ///
    /// # Errors
    /// A usage error when it is not Unicode.
    pub fn text(&self, name: &'static str) -> Result<Option<&str>, Error> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let text = value.to_str().ok_or_else(|| Error::usage(format!("{name} is not valid Unicode")))?;
        Ok(Some(text))
    }

    /// Whether the variable is set.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// Names only: values may be secret.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

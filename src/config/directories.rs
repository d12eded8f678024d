//! Where things are kept when nobody says otherwise.

use std::path::{Path, PathBuf};

use directories::ProjectDirs;

use super::environment;
use crate::error::{Error, ErrorKind};

/// The tool's own directory for data: registry and credentials.
///
/// With [`environment::HOME`] set, all directories are that one.
///
/// Linux: `$XDG_DATA_HOME/bugfender-hooks` or `~/.local/share/bugfender-hooks`; macOS:
/// `~/Library/Application Support/bugfender-hooks`; Windows: `%LOCALAPPDATA%\bugfender-hooks\data`.
///
/// # Errors
/// A store error when the system names no home directory.
pub fn data_dir() -> Result<PathBuf, Error> {
    one_of(|dirs| dirs.data_local_dir()).ok_or_else(|| {
        Error::new(ErrorKind::Store, "there is no home directory to keep the registry and the token in")
            .hint("set HOME or BUGFENDER_HOOKS_HOME, or use --store sqlite:PATH and BUGFENDER_API_TOKEN")
    })
}

/// The configuration file, if the system names a home directory.
///
/// Linux: `$XDG_CONFIG_HOME/bugfender-hooks/config.toml` or `~/.config/bugfender-hooks/config.toml`; macOS:
/// `~/Library/Application Support/bugfender-hooks/config.toml`; Windows: `%APPDATA%\bugfender-hooks\config\config.toml`.
pub fn config_file() -> Option<PathBuf> {
    one_of(|dirs| dirs.config_dir()).map(|dir| dir.join("config.toml"))
}

/// The same, for what cannot do without.
///
/// # Errors
/// A store error when the system names no home directory.
pub fn needed_config_file() -> Result<PathBuf, Error> {
    config_file().ok_or_else(|| {
        Error::new(ErrorKind::Store, "there is no home directory to keep the configuration in")
            .hint("set HOME or BUGFENDER_HOOKS_HOME")
    })
}

/// The directory for what can be had again, if the system names a home directory.
///
/// Linux: `$XDG_CACHE_HOME/bugfender-hooks` or `~/.cache/bugfender-hooks`.
pub fn cache_dir() -> Option<PathBuf> {
    one_of(|dirs| dirs.cache_dir())
}

fn one_of(platform: impl FnOnce(&ProjectDirs) -> &Path) -> Option<PathBuf> {
    // Seen from where the command began, as every path that is typed; if that is gone, it is an error when it is used. In no
    // case another directory's credentials are taken.
    let named = environment::home().map(|home| std::path::absolute(&home).unwrap_or(home));
    named.or_else(|| ProjectDirs::from("", "", "bugfender-hooks").map(|dirs| platform(&dirs).to_path_buf()))
}

//! The default directories.

use std::path::{Path, PathBuf};

use directories::{BaseDirs, ProjectDirs};

use super::environment;
use crate::error::{Error, ErrorKind};

/// The data directory, for the registry and credentials.
///
/// With [`environment::HOME`] set, it is used in place of all directories.
///
/// Linux: `$XDG_DATA_HOME/bugfender-hooks` or `~/.local/share/bugfender-hooks`; macOS:
/// `~/Library/Application Support/bugfender-hooks`; Windows: `%LOCALAPPDATA%\bugfender-hooks\data`.
///
/// # Errors
/// A store error when there is no home directory.
pub fn data_dir() -> Result<PathBuf, Error> {
    one_of(|dirs| dirs.data_local_dir()).ok_or_else(|| {
        Error::new(ErrorKind::Store, "there is no home directory for the registry and the token")
            .hint("set HOME or BUGFENDER_HOOKS_HOME, or use --store sqlite:PATH and BUGFENDER_API_TOKEN")
    })
}

/// The configuration file, if there is a home directory.
///
/// Linux: `$XDG_CONFIG_HOME/bugfender-hooks/config.toml` or `~/.config/bugfender-hooks/config.toml`; macOS:
/// `~/Library/Application Support/bugfender-hooks/config.toml`; Windows: `%APPDATA%\bugfender-hooks\config\config.toml`.
pub fn config_file() -> Option<PathBuf> {
    one_of(|dirs| dirs.config_dir()).map(|dir| dir.join("config.toml"))
}

/// The configuration file, for commands that require it.
///
/// # Errors
/// A store error when there is no home directory.
pub fn needed_config_file() -> Result<PathBuf, Error> {
    config_file().ok_or_else(|| {
        Error::new(ErrorKind::Store, "there is no home directory for the configuration")
            .hint("set HOME or BUGFENDER_HOOKS_HOME")
    })
}

/// The cache directory, if there is a home directory.
///
/// Linux: `$XDG_CACHE_HOME/bugfender-hooks` or `~/.cache/bugfender-hooks`.
pub fn cache_dir() -> Option<PathBuf> {
    one_of(|dirs| dirs.cache_dir())
}

/// PostgreSQL's password file, if there is a home directory: `~/.pgpass`, or `%APPDATA%\\postgresql\\pgpass.conf`.
pub fn password_file() -> Option<PathBuf> {
    let dirs = BaseDirs::new()?;
    let on_windows = cfg!(windows).then(|| dirs.config_dir().join("postgresql").join("pgpass.conf"));
    Some(on_windows.unwrap_or_else(|| dirs.home_dir().join(".pgpass")))
}

fn one_of(platform: impl FnOnce(&ProjectDirs) -> &Path) -> Option<PathBuf> {
    // A relative path is resolved against the working directory. If that no longer exists, the path stays relative and
    // fails when it is used, so that no credentials of another directory are read.
    let chosen = environment::home().map(|home| std::path::absolute(&home).unwrap_or(home));
    chosen.or_else(|| ProjectDirs::from("", "", "bugfender-hooks").map(|dirs| platform(&dirs).to_path_buf()))
}

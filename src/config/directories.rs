//! Where things are kept when nobody says otherwise.

use std::path::PathBuf;

use directories::ProjectDirs;

use crate::error::{Error, ErrorKind};

/// The tool's own directory for data: registry and credentials.
///
/// Linux: `$XDG_DATA_HOME/bugfender-hooks` or `~/.local/share/bugfender-hooks`; macOS:
/// `~/Library/Application Support/bugfender-hooks`; Windows: `%LOCALAPPDATA%\bugfender-hooks\data`.
///
/// # Errors
/// A store error when the system names no home directory.
pub fn data_dir() -> Result<PathBuf, Error> {
    project_dirs().map(|dirs| dirs.data_local_dir().to_path_buf()).ok_or_else(|| {
        Error::new(ErrorKind::Store, "there is no home directory to keep the registry and the token in")
            .hint("set HOME, or name a registry with --store sqlite:PATH and give the token in BUGFENDER_API_TOKEN")
    })
}

/// The configuration file, if the system names a home directory.
///
/// Linux: `$XDG_CONFIG_HOME/bugfender-hooks/config.toml` or `~/.config/bugfender-hooks/config.toml`; macOS:
/// `~/Library/Application Support/bugfender-hooks/config.toml`; Windows: `%APPDATA%\bugfender-hooks\config\config.toml`.
pub fn config_file() -> Option<PathBuf> {
    project_dirs().map(|dirs| dirs.config_dir().join("config.toml"))
}

/// The directory for what can be had again, if the system names a home directory.
///
/// Linux: `$XDG_CACHE_HOME/bugfender-hooks` or `~/.cache/bugfender-hooks`.
pub fn cache_dir() -> Option<PathBuf> {
    project_dirs().map(|dirs| dirs.cache_dir().to_path_buf())
}

fn project_dirs() -> Option<ProjectDirs> {
    ProjectDirs::from("", "", "bugfender-hooks")
}

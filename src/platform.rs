//! The one place for what differs between operating systems: file modes, directory syncs, signals.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::process::ExitStatus;

/// Creates `path` for its owner alone (mode 0600 on Unix) and opens it for writing.
///
/// Fails if it exists already.
pub fn create_private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).read(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Creates `path` and its missing parents for their owner alone (mode 0700 on Unix).
///
/// Directories that exist keep their modes.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Takes every permission on `path` from group and others. Says whether there was one to take.
///
/// Windows keeps these files in the user's profile, whose access list already does this.
#[cfg(unix)]
pub fn tighten(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path)?.permissions().mode();
    let others = mode & 0o077;
    if others == 0 {
        return Ok(false);
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o700))?;
    Ok(true)
}

/// Takes every permission on `path` from group and others. Says whether there was one to take.
#[cfg(not(unix))]
pub fn tighten(path: &Path) -> io::Result<bool> {
    fs::metadata(path).map(|_| false)
}

/// Makes a rename inside directory `path` durable.
#[cfg(unix)]
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a rename inside directory `path` durable; the system does so itself.
#[cfg(not(unix))]
pub fn sync_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// The exit code a shell would show for a child that ended so: its own, or 128 + the signal's number.
pub fn shell_exit_code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(u8::MAX);
    }
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Waits for a request to stop: Ctrl-C, or SIGTERM on Unix.
pub async fn stop_requested() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

//! The one place for what differs between operating systems: private files, directory syncs, signals.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
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

/// Opens the file `path` to be locked, and creates it for its owner alone if need be.
pub fn open_lock(path: &Path) -> io::Result<File> {
    match create_private_file(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().read(true).write(true).open(path)
        }
        other => other,
    }
}

/// Writes a file for its owner alone: temp file, fsync, rename, fsync of the directory. A crash leaves the old
/// contents or the new.
pub fn replace_private_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = PrivateFile::prepare(path)?;
    file.put(contents)
}

/// Makes a file for its owner alone, whole or not at all.
///
/// Fails if it exists already.
pub fn add_private_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    let dir = dir_of(path);
    // Created with mode 0600.
    let mut temporary = tempfile::Builder::new().prefix(&leftover_prefix(path)).tempfile_in(dir)?;
    temporary.write_all(contents)?;
    temporary.as_file().sync_all()?;
    temporary.persist_noclobber(path)?;
    sync_dir(dir)
}

/// A file about to be replaced: what can fail beforehand has been done.
#[derive(Debug)]
pub struct PrivateFile {
    path: PathBuf,
    temporary: Option<tempfile::NamedTempFile>,
}

/// The space that is taken up beforehand, in bytes: more than any credential needs.
const RESERVED: usize = 16 * 1024;

impl PrivateFile {
    /// Makes the temp file that is to become `path`, with space on the disk.
    pub fn prepare(path: &Path) -> io::Result<Self> {
        let dir = dir_of(path);
        // Created with mode 0600.
        let mut temporary = tempfile::Builder::new().prefix(&leftover_prefix(path)).tempfile_in(dir)?;
        temporary.write_all(&[b' '; RESERVED])?;
        Ok(Self { path: path.to_owned(), temporary: Some(temporary) })
    }

    /// Puts `contents` in place. Until this returns without an error, the old contents may be there.
    pub fn put(&mut self, contents: &[u8]) -> io::Result<()> {
        let mut temporary = self.temporary.take().ok_or_else(|| io::Error::other("it was put in place already"))?;
        temporary.rewind()?;
        temporary.write_all(contents)?;
        temporary.as_file().set_len(contents.len() as u64)?;
        temporary.as_file().sync_all()?;
        temporary.persist(&self.path)?;
        sync_dir(dir_of(&self.path))
    }
}

/// The directory that `path` is in; a name alone is in the current one.
fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn leftover_prefix(path: &Path) -> String {
    format!(".new-{}-", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Removes what processes that were killed while they wrote `path` left behind. Only for who has its lock.
pub fn remove_leftovers(path: &Path) {
    let prefix = leftover_prefix(path);
    let entries = fs::read_dir(dir_of(path)).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
        // What cannot be removed does no harm but to be there.
        let _ = fs::remove_file(entry.path());
    }
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

/// The permissions of group and others, for [`tighten`].
pub const OTHERS: u32 = 0o077;

/// The permissions of everybody outside the group, for [`tighten`].
pub const WORLD: u32 = 0o007;

/// Takes these permissions on `path` away. Says whether there was one to take.
///
/// Windows keeps these files in the user's profile, whose access list already does this.
#[cfg(unix)]
pub fn tighten(path: &Path, permissions: u32) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & permissions == 0 {
        return Ok(false);
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o777 & !permissions))?;
    Ok(true)
}

/// Takes these permissions on `path` away. Says whether there was one to take.
#[cfg(not(unix))]
pub fn tighten(path: &Path, _permissions: u32) -> io::Result<bool> {
    fs::metadata(path).map(|_| false)
}

/// Which file a path leads to: another one after it was moved or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    #[cfg(unix)]
    device: u64,
    #[cfg(unix)]
    inode: u64,
}

impl FileIdentity {
    /// The file at `path`. On Windows a file that is in use cannot be moved, so that all are alike.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            Ok(Self { device: metadata.dev(), inode: metadata.ino() })
        }
        #[cfg(not(unix))]
        {
            let _ = metadata;
            Ok(Self {})
        }
    }
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

/// How a process is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// By Ctrl-C, which a terminal sends to every process in the foreground.
    Interrupt,
    /// By SIGTERM, which is sent to one process.
    Terminate,
}

/// Requests to stop: Ctrl-C, and SIGTERM on Unix. From the moment this exists they end nothing by themselves.
#[derive(Debug)]
pub struct StopSignals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl StopSignals {
    /// Listens from now on, within a runtime. To be called before anybody is told that there is something to stop.
    ///
    /// # Errors
    /// When the system refuses.
    #[cfg(unix)]
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Listens from now on, within a runtime.
    #[cfg(not(unix))]
    pub fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next one.
    #[cfg(unix)]
    pub async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }

    /// Waits for the next one.
    #[cfg(not(unix))]
    pub async fn next(&mut self) -> Stop {
        let _ = tokio::signal::ctrl_c().await;
        Stop::Interrupt
    }
}

/// From now on, within a runtime, this process does not end because its terminal is closed.
pub fn outlive_hangup() {
    #[cfg(unix)]
    // Without it the process ends, as it did before there was anything to lose.
    let _ = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup());
}

/// Whether standard output is a pipe that nobody reads any more.
pub fn nobody_reads() -> bool {
    #[cfg(unix)]
    {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let stdout = io::stdout();
        let mut pipe = [PollFd::new(&stdout, PollFlags::empty())];
        // Where this cannot be asked, writing tells.
        let asked = poll(&mut pipe, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        asked.is_ok() && pipe[0].revents().contains(PollFlags::ERR)
    }
    #[cfg(not(unix))]
    false
}

/// Whether standard output takes a few lines right now, so that writing them keeps nobody waiting.
pub fn somebody_reads() -> bool {
    #[cfg(unix)]
    {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let stdout = io::stdout();
        let mut pipe = [PollFd::new(&stdout, PollFlags::OUT)];
        // Where this cannot be asked, writing tells. A pipe that takes nothing any more is ready to say so.
        poll(&mut pipe, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) != Ok(0)
    }
    #[cfg(not(unix))]
    true
}

/// How the terminal on standard input is set, to be set so again.
#[derive(Debug)]
pub struct TerminalModes {
    #[cfg(unix)]
    modes: Option<rustix::termios::Termios>,
}

impl TerminalModes {
    /// Takes note of them.
    pub fn save() -> Self {
        Self {
            #[cfg(unix)]
            modes: rustix::termios::tcgetattr(io::stdin()).ok(),
        }
    }

    /// Sets them as they were: echo again after a secret that nobody typed to its end.
    pub fn restore(&self) {
        #[cfg(unix)]
        if let Some(modes) = &self.modes {
            // There is nothing to be done about a terminal that has gone.
            let _ = rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Now, modes);
        }
    }
}

/// Puts a command that is about to be started into a group of its own: a Ctrl-C at the terminal is not for it.
pub fn own_group(command: &mut tokio::process::Command) {
    #[cfg(unix)]
    command.process_group(0);
    #[cfg(not(unix))]
    let _ = command;
}

/// Kills a child that has a group of its own, and all that it started.
pub fn kill_group(child: &mut tokio::process::Child) {
    #[cfg(unix)]
    if let Some(id) = child.id().and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?)) {
        // It may have ended by itself in the meantime.
        let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
    }
    let _ = child.start_kill();
}

/// Lets this process have as many files open as the system allows at all, and says how many those are.
pub fn raise_open_files() -> Option<usize> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        // What is refused stays as it was.
        let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
        let limit = if raised { maximum } else { current };
        limit.and_then(|limit| usize::try_from(limit).ok())
    }
    #[cfg(not(unix))]
    None
}

/// Whether a port that was in use a moment ago must be asked for by name. On Windows that would let others have it too.
pub const REUSE_ADDRESS: bool = cfg!(unix);

/// The listening socket that the service manager hands over, if it does.
///
/// # Errors
/// When what it hands over is no such socket.
pub fn inherited_listener() -> io::Result<Option<std::net::TcpListener>> {
    listenfd::ListenFd::from_env().take_tcp_listener(0)
}

/// What a service manager may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// It serves.
    Ready,
    /// It is about to end.
    Stopping,
}

/// Tells the service manager, if there is one.
pub fn notify_service_manager(state: ServiceState) {
    #[cfg(unix)]
    {
        let state = match state {
            ServiceState::Ready => sd_notify::NotifyState::Ready,
            ServiceState::Stopping => sd_notify::NotifyState::Stopping,
        };
        if let Err(error) = sd_notify::notify(&[state]) {
            tracing::debug!(%error, "the service manager could not be told");
        }
    }
    #[cfg(not(unix))]
    let _ = state;
}

/// Requests to read files again: SIGHUP on Unix.
#[derive(Debug)]
pub struct ReloadSignals {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl ReloadSignals {
    /// Listens from now on, within a runtime.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            hangup: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        if self.hangup.recv().await.is_some() {
            return;
        }
        std::future::pending::<()>().await;
    }
}

/// Asks a child to stop, as this process was asked.
pub fn pass_on_terminate(child: &mut tokio::process::Child) {
    #[cfg(unix)]
    if let Some(id) = child.id().and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?)) {
        // It may have ended by itself in the meantime.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
    }
    #[cfg(not(unix))]
    let _ = child.start_kill();
}

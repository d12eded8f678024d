//! Everything that differs between operating systems: private files, signals, terminals, processes.

mod files;
mod replacing;

use std::io;
use std::process::ExitStatus;

pub use self::files::{
    FileIdentity, OTHERS, WORLD, create_ballast, create_private_dir, create_private_file, free_space,
    is_open_to_others, open_lock, remove_file_if_there, sync_dir, tighten,
};
pub use self::replacing::{PrivateFile, add_private_file, remove_leftovers, replace_private_file, write_named_file};

/// Whether the environment names the graphical session, without which no browser can open.
pub const NAMES_GRAPHICAL_SESSIONS: bool = cfg!(all(unix, not(target_os = "macos")));

/// The exit code that a shell reports for a child: its own, or 128 + the number of the signal.
pub fn shell_exit_code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(u8::MAX);
    }
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// A request to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Ctrl-C, which a terminal sends to all processes in the foreground.
    Interrupt,
    /// SIGTERM, which is sent to one process.
    Terminate,
}

/// Receives requests to stop: Ctrl-C, and SIGTERM on Unix. Once created, these signals no longer end the process.
#[derive(Debug)]
pub struct StopSignals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
}

impl StopSignals {
    /// Installs the signal handlers. Requires a runtime, and must be called before the process announces that it is
    /// ready.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    #[cfg(unix)]
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Installs the handler for Ctrl-C. Requires a runtime.
    ///
    /// # Errors
    /// When the handler cannot be installed.
    #[cfg(windows)]
    pub fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: tokio::signal::windows::ctrl_c()? })
    }

    /// Waits for the next request.
    #[cfg(unix)]
    pub async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }

    /// Waits for the next request.
    #[cfg(windows)]
    pub async fn next(&mut self) -> Stop {
        self.interrupt.recv().await;
        Stop::Interrupt
    }
}

/// Keeps this process running when its terminal is closed. Requires a runtime.
pub fn ignore_hangup() {
    #[cfg(unix)]
    // If this fails, the default action stays: the process ends.
    let _ = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup());
}

/// Whether standard output is a pipe whose reader has closed it.
pub fn stdout_is_closed() -> bool {
    #[cfg(unix)]
    {
        use rustix::event::PollFlags;
        // If polling fails, a later write reports the closed pipe.
        poll_stdout(PollFlags::empty()).is_some_and(|found| found.contains(PollFlags::ERR))
    }
    #[cfg(not(unix))]
    false
}

/// Whether a few lines can be written to standard output without blocking.
pub fn stdout_is_writable() -> bool {
    #[cfg(unix)]
    {
        // If polling fails, the write may block. A closed pipe counts as ready, as a write fails immediately.
        poll_stdout(rustix::event::PollFlags::OUT).is_none_or(|found| !found.is_empty())
    }
    #[cfg(not(unix))]
    true
}

/// Polls standard output without waiting.
#[cfg(unix)]
fn poll_stdout(wanted: rustix::event::PollFlags) -> Option<rustix::event::PollFlags> {
    use rustix::event::{PollFd, Timespec, poll};
    let stdout = io::stdout();
    let mut pipe = [PollFd::new(&stdout, wanted)];
    poll(&mut pipe, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).ok()?;
    Some(pipe[0].revents())
}

/// The modes of the terminal on standard input, to be restored later.
#[derive(Debug)]
pub struct TerminalModes {
    #[cfg(unix)]
    modes: Option<rustix::termios::Termios>,
}

impl TerminalModes {
    /// Saves the current modes.
    pub fn save() -> Self {
        Self {
            #[cfg(unix)]
            modes: rustix::termios::tcgetattr(io::stdin()).ok(),
        }
    }

    /// Restores the modes, such as echo after an interrupted prompt for a secret.
    pub fn restore(&self) {
        #[cfg(unix)]
        if let Some(modes) = &self.modes {
            // Fails if the terminal is gone.
            let _ = rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Now, modes);
        }
    }
}

/// Starts a command in its own process group, so that Ctrl-C on the terminal does not interrupt it.
pub fn own_group(command: &mut tokio::process::Command) {
    #[cfg(unix)]
    command.process_group(0);
    #[cfg(not(unix))]
    let _ = command;
}

/// Kills the process group of a child, which includes its descendants.
pub fn kill_group(child: &mut tokio::process::Child) {
    #[cfg(unix)]
    if let Some(id) = child.id().and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?)) {
        // Fails if it has ended meanwhile.
        let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
    }
    let _ = child.start_kill();
}

/// Raises the limit of open files to the maximum, and returns the limit.
pub fn raise_open_files() -> Option<usize> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        // If that fails, the current limit stays.
        let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
        let limit = if raised { maximum } else { current };
        limit.and_then(|limit| usize::try_from(limit).ok())
    }
    #[cfg(not(unix))]
    None
}

/// Keeps other processes of this user from reading the memory and the environment of this one, as a debugger or through
/// `/proc`, and its memory out of core dumps. Programs that it starts are not affected. Linux only.
pub fn hide_memory() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::debug!(%error, "other processes of this user may read the memory of this one");
    }
}

/// Whether to set `SO_REUSEADDR`, so that a port can be bound again at once. On Windows others could bind it too.
pub const REUSE_ADDRESS: bool = cfg!(unix);

/// The listening sockets passed by the service manager. Children do not inherit them.
///
/// # Errors
/// When one is not a listening TCP socket: nothing would accept what it receives.
pub fn inherited_listeners() -> io::Result<Vec<std::net::TcpListener>> {
    let mut inherited = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..inherited.len() {
        let listener = inherited.take_tcp_listener(index).and_then(|listener| {
            let Some(listener) = listener else { return Ok(None) };
            #[cfg(unix)]
            rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::CLOEXEC)?;
            // Fails for a unix socket.
            listener.local_addr()?;
            Ok(Some(listener))
        });
        listeners.extend(listener.map_err(|error| {
            io::Error::new(error.kind(), format!("socket {} of the service manager: {error}", index + 1))
        })?);
    }
    Ok(listeners)
}

/// The variables by which a service manager speaks to this process, and to no child of it.
pub const SERVICE_VARIABLES: [&str; 7] =
    ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "MAINPID"];

/// How often the service manager's watchdog must be answered, if it has one for this process.
pub fn watchdog_interval() -> Option<std::time::Duration> {
    #[cfg(unix)]
    {
        sd_notify::watchdog_enabled()
    }
    #[cfg(not(unix))]
    None
}

/// A state to notify the service manager of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// The service is ready.
    Ready,
    /// The service works, as its watchdog wants to know.
    Alive,
    /// The service is stopping.
    Stopping,
}

/// Notifies the service manager, if there is one.
pub fn notify_service_manager(state: ServiceState) {
    #[cfg(unix)]
    {
        let state = match state {
            ServiceState::Ready => sd_notify::NotifyState::Ready,
            ServiceState::Alive => sd_notify::NotifyState::Watchdog,
            ServiceState::Stopping => sd_notify::NotifyState::Stopping,
        };
        if let Err(error) = sd_notify::notify(&[state]) {
            tracing::debug!(%error, "could not notify the service manager");
        }
    }
    #[cfg(not(unix))]
    let _ = state;
}

/// Receives requests to reload files: SIGHUP on Unix.
#[derive(Debug)]
pub struct ReloadSignals {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl ReloadSignals {
    /// Installs the signal handler. Requires a runtime.
    ///
    /// # Errors
    /// When the handler cannot be installed.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            hangup: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?,
        })
    }

    /// Waits for the next request.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        if self.hangup.recv().await.is_some() {
            return;
        }
        std::future::pending::<()>().await;
    }
}

/// Whether a process with this id exists, of any user. Always false on Windows.
pub fn is_running(pid: i32) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let Some(pid) = rustix::process::Pid::from_raw(pid) else { return false };
        !matches!(rustix::process::test_kill_process(pid), Err(Errno::SRCH))
    }
    #[cfg(not(unix))]
    {
        let _ = pid;
        false
    }
}

/// The name of this host, as it knows itself. Unknown on Windows, whose environment has it.
pub fn host_name() -> Option<String> {
    #[cfg(unix)]
    {
        let system = rustix::system::uname();
        system.nodename().to_str().ok().filter(|name| !name.is_empty()).map(str::to_owned)
    }
    #[cfg(not(unix))]
    None
}

/// Sends SIGTERM to a child; on Windows, kills it.
pub fn forward_terminate(child: &mut tokio::process::Child) {
    #[cfg(unix)]
    if let Some(id) = child.id().and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?)) {
        // Fails if it has ended meanwhile.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
    }
    #[cfg(not(unix))]
    let _ = child.start_kill();
}

//! The one place for what differs between operating systems: private files, directory syncs, signals.

mod files;

use std::io;
use std::process::ExitStatus;

pub use self::files::{
    FileIdentity, OTHERS, PrivateFile, WORLD, add_private_file, create_private_dir, create_private_file, open_lock,
    remove_leftovers, replace_private_file, sync_dir, tighten,
};

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
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
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
    ///
    /// # Errors
    /// When the system refuses.
    #[cfg(windows)]
    pub fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: tokio::signal::windows::ctrl_c()? })
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
    #[cfg(windows)]
    pub async fn next(&mut self) -> Stop {
        self.interrupt.recv().await;
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
        use rustix::event::PollFlags;
        // Where this cannot be asked, writing tells.
        ask_stdout(PollFlags::empty()).is_some_and(|found| found.contains(PollFlags::ERR))
    }
    #[cfg(not(unix))]
    false
}

/// Whether standard output takes a few lines right now, so that writing them keeps nobody waiting.
pub fn somebody_reads() -> bool {
    #[cfg(unix)]
    {
        // Where this cannot be asked, writing tells. A pipe that takes nothing any more is ready to say so.
        ask_stdout(rustix::event::PollFlags::OUT).is_none_or(|found| !found.is_empty())
    }
    #[cfg(not(unix))]
    true
}

/// What standard output is ready for at this moment.
#[cfg(unix)]
fn ask_stdout(wanted: rustix::event::PollFlags) -> Option<rustix::event::PollFlags> {
    use rustix::event::{PollFd, Timespec, poll};
    let stdout = io::stdout();
    let mut pipe = [PollFd::new(&stdout, wanted)];
    poll(&mut pipe, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).ok()?;
    Some(pipe[0].revents())
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

/// Whether there is a process with this number, whosever it is. On Windows nobody knows.
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

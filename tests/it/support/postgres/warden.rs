//! What runs a server in a directory of its own, and leaves nothing of it when it is dropped or the tests end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Whom the servers run as: the user who runs the tests, but not root, as whom they would not run.
#[derive(Clone, Copy)]
pub struct Owner(Option<(u32, u32)>);

impl Owner {
    pub fn find() -> Self {
        let id = |arguments: &[&str]| {
            let output = Command::new("id").args(arguments).output().unwrap();
            assert!(output.status.success(), "there is no user {arguments:?}");
            String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
        };
        Self((id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"]))))
    }

    /// A program that runs as the owner.
    pub fn command(self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir("/").stdin(Stdio::null());
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
        command
    }

    /// A directory of the owner's, with a path that is short enough for a socket in it.
    pub fn dir(self) -> PathBuf {
        let dir = tempfile::Builder::new().prefix("bh-pg-").tempdir_in("/tmp").unwrap().keep();
        if let Some((user, group)) = self.0 {
            chown(&dir, Some(user), Some(group)).unwrap();
        }
        dir
    }
}

/// Makes a file that the owner of a server can read.
pub fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

/// A shell that runs a server until its standard input ends.
pub struct Warden {
    shell: Child,
    stdin: Option<ChildStdin>,
}

impl Warden {
    pub fn start(owner: Owner, script: &str, arguments: &[&Path]) -> Self {
        let mut command = owner.command("sh");
        // A signal to the tests, such as that of Ctrl-C, must not reach it: it still has something to do.
        command.args(["-c", script, "sh"]).args(arguments).process_group(0);
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = shell.stdin.take();
        Self { shell, stdin }
    }

    /// The first line that it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.shell.wait();
    }
}

/// A port that nobody listens on, and that nobody is given who asks for any.
pub fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| fastrand::u16(10_000..30_000));
    ports.find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

//! A terminal: the util-linux program `script` gives the command a real one, the test types.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use super::{Home, PATIENCE};

pub struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    screen: Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    /// Runs the command on a terminal of its own.
    pub fn run(home: &Home, args: &[&str]) -> Self {
        Self::begin(home, args, "")
    }

    /// Runs it on a terminal with so many columns.
    pub fn of_width(home: &Home, columns: u16, args: &[&str]) -> Self {
        Self::begin(home, args, &format!("stty cols {columns}; "))
    }

    fn begin(home: &Home, args: &[&str], prepare: &str) -> Self {
        let inner = home.command(args);
        let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap().replace('\'', r"'\''"));
        let line = std::iter::once(inner.get_program()).chain(inner.get_args()).map(quoted).collect::<Vec<_>>();
        let mut command = Command::new("/usr/bin/script");
        // No shell stays between the terminal and the command.
        let line = format!("{prepare}exec {}", line.join(" "));
        command.args(["-q", "-e", "-c", &line, "/dev/null"]).current_dir(home.path()).env_clear();
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (send, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                if send.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let keyboard = child.stdin.take().unwrap();
        Self { child, keyboard, screen, shown: String::new() }
    }

    /// Waits until the screen has shown this.
    pub fn wait_for(&mut self, text: &str) -> &mut Self {
        while !self.shown.contains(text) {
            let piece = self.screen.recv_timeout(PATIENCE);
            let piece = piece.unwrap_or_else(|_| panic!("{text:?} never came; the screen has {:?}", self.shown));
            self.shown.push_str(&String::from_utf8_lossy(&piece));
        }
        self
    }

    /// Waits until what is typed is not shown.
    pub fn wait_for_no_echo(&mut self) -> &mut Self {
        let parent = self.child.id();
        super::wait_until("the terminal hides what is typed", || {
            let Some(terminal) = terminal_of_child(parent) else { return false };
            let settings = Command::new("stty").arg("-F").arg(terminal).output().unwrap();
            String::from_utf8_lossy(&settings.stdout).contains("-echo")
        });
        self
    }

    /// Waits until what is typed is shown again, or there is no terminal left to show it.
    pub fn wait_for_echo(&mut self) -> &mut Self {
        let parent = self.child.id();
        super::wait_until("the terminal shows what is typed", || {
            let Some(terminal) = terminal_of_child(parent) else { return true };
            let settings = Command::new("stty").arg("-F").arg(terminal).output().unwrap();
            !String::from_utf8_lossy(&settings.stdout).contains("-echo ")
        });
        self
    }

    /// Sends the command what Ctrl-C sends.
    pub fn interrupt(&mut self) -> &mut Self {
        let parent = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
        let child = children.split_whitespace().next().unwrap();
        assert!(Command::new("kill").args(["-INT", child]).status().unwrap().success());
        self
    }

    pub fn type_line(&mut self, text: &str) -> &mut Self {
        writeln!(self.keyboard, "{text}").unwrap();
        self.keyboard.flush().unwrap();
        self
    }

    /// Waits for the end: exit code, and all that was shown.
    pub fn end(mut self) -> (i32, String) {
        drop(self.keyboard);
        while let Ok(piece) = self.screen.recv_timeout(PATIENCE) {
            self.shown.push_str(&String::from_utf8_lossy(&piece));
        }
        (self.child.wait().unwrap().code().unwrap_or(-1), self.shown)
    }
}

/// The terminal that `script` has given to its child.
fn terminal_of_child(parent: u32) -> Option<PathBuf> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    std::fs::read_link(format!("/proc/{}/fd/0", children.split_whitespace().next()?)).ok()
}
